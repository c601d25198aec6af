package ledger

import (
	"crypto/sha256"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/channelconfig"
	"peerless/shared/msp"
	"peerless/shared/wire"
)

// checked is a transaction after the checks that need no state: its form and its signatures.
type checked struct {
	raw       []byte
	digest    [sha256.Size]byte // of raw
	tx        *wire.Transaction // what could be read of it; never nil
	code      peer.TxValidationCode
	endorsers []*msp.Identity // whose endorsement is good, each once
	fresh     bool            // nobody else can have the id
	private   wire.PrivateSet // what it wrote to collections, as far as that is here
}

// check judges form and signatures in the order of Fabric's ValidateTransaction: header, creator's signature, then the rest. An
// endorsement that does not verify is left out, as in Fabric: the policy decides whether the others are enough.
func check(config *channelconfig.Config, raw []byte) *checked {
	tx, code := wire.ParseEnvelope(raw)
	if tx == nil {
		return &checked{raw: raw, digest: sha256.Sum256(raw), tx: &wire.Transaction{}, code: code}
	}
	c := &checked{raw: raw, digest: sha256.Sum256(raw), tx: tx, code: code}
	creator, err := config.MSPs.Identify(tx.Creator)
	if err != nil || creator.Verify(tx.Payload, tx.Signature) != nil {
		c.code = peer.TxValidationCode_BAD_CREATOR_SIGNATURE
		return c
	}
	if code != peer.TxValidationCode_VALID {
		return c
	}
	for _, e := range tx.Endorsements {
		if id := identifyOnce(config, c.endorsers, e.Endorser); id != nil {
			if id.Verify(wire.EndorsedMessage(tx.ResponsePayload, e.Endorser), e.Signature) == nil {
				c.endorsers = append(c.endorsers, id)
			}
		}
	}
	return c
}

// checkTrusted is check for a transaction whose every signature this process made.
func checkTrusted(config *channelconfig.Config, s *Submission) *checked {
	c := &checked{raw: s.Envelope, digest: sha256.Sum256(s.Envelope), tx: s.Tx, code: peer.TxValidationCode_VALID, private: s.Private}
	for _, e := range s.Tx.Endorsements {
		if id := identifyOnce(config, c.endorsers, e.Endorser); id != nil {
			c.endorsers = append(c.endorsers, id)
		}
	}
	return c
}

// identifyOnce returns the endorser's identity, nil if it is not one of the channel's or is among those already seen.
func identifyOnce(config *channelconfig.Config, seen []*msp.Identity, serialized []byte) *msp.Identity {
	id, err := config.MSPs.Identify(serialized)
	if err != nil {
		return nil
	}
	for _, s := range seen {
		if s.MSPID == id.MSPID && s.Cert.Equal(id.Cert) {
			return nil
		}
	}
	return id
}

// isConfig reports whether the transaction carries a channel configuration.
func (c *checked) isConfig() bool { return c.tx.Type == common.HeaderType_CONFIG }
