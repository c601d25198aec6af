package conformance

import (
	"bytes"
	"crypto/rand"
	"encoding/asn1"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"peerless/shared/wire"
)

// nonceLength is what Fabric's clients use, in bytes.
const nonceLength = 24

// propose makes and signs a step's proposal, with everything that is wrong about it, and notes it under the step's label.
func (r *run) propose(step *Step) (*proposed, error) {
	user, err := r.identities.user(step.User)
	if err != nil {
		return nil, err
	}
	mutation := step.Proposal
	if mutation == nil {
		mutation = &ProposalMutation{}
	}
	spec, err := r.specify(step, mutation)
	if err != nil {
		return nil, err
	}
	signer := user
	switch mutation.Creator {
	case "":
		spec.Creator = user.Serialized
	case "foreign-ca":
		if signer, err = Foreign(user.MSPID); err != nil {
			return nil, err
		}
		spec.Creator = signer.Serialized
	default:
		if spec.Creator, err = r.creator(mutation.Creator, user.Serialized); err != nil {
			return nil, err
		}
	}
	if mutation.SignedBy != "" {
		if signer, err = r.identities.user(mutation.SignedBy); err != nil {
			return nil, err
		}
	}
	proposal, err := wire.NewProposal(*spec)
	if err != nil {
		return nil, err
	}
	signature, err := signer.Sign(proposal.Signed.GetProposalBytes())
	if err != nil {
		return nil, err
	}
	if signature, err = spoiled(signature, mutation.Signature); err != nil {
		return nil, err
	}
	signed := &peer.SignedProposal{ProposalBytes: proposal.Signed.GetProposalBytes(), Signature: signature}
	switch mutation.Tamper {
	case "":
	case "args":
		spec.Args = append(spec.Args, []byte("one more"))
		tampered, err := wire.NewProposal(*spec)
		if err != nil {
			return nil, err
		}
		signed.ProposalBytes = tampered.Signed.GetProposalBytes()
	default:
		return nil, fmt.Errorf("there is no way to tamper with %q", mutation.Tamper)
	}
	p := &proposed{label: step.ID, channel: step.Channel, txID: proposal.TxID, user: user, signed: signed, nonce: spec.Nonce}
	r.proposed[step.ID] = p
	r.names.add(step.ID, p.txID, spec.Timestamp)
	return p, nil
}

// specify gives all of a proposal but its creator.
func (r *run) specify(step *Step, mutation *ProposalMutation) (*wire.ProposalSpec, error) {
	spec := &wire.ProposalSpec{
		Channel:   step.Channel,
		Chaincode: step.Chaincode,
		Args:      [][]byte{[]byte(step.Function)},
		Nonce:     make([]byte, nonceLength),
		Timestamp: time.Now(),
	}
	if step.Ops != nil {
		var operations bytes.Buffer
		if err := json.Compact(&operations, step.Ops); err != nil {
			return nil, fmt.Errorf("operations: %w", err)
		}
		spec.Args = append(spec.Args, operations.Bytes())
	}
	for _, arg := range step.Args {
		spec.Args = append(spec.Args, arg)
	}
	if step.Transient != nil {
		spec.Transient = make(map[string][]byte, len(step.Transient))
		for name, value := range step.Transient {
			spec.Transient[name] = value
		}
	}
	if mutation.Timestamp != "" {
		offset, err := time.ParseDuration(mutation.Timestamp)
		if err != nil {
			return nil, err
		}
		spec.Timestamp = spec.Timestamp.Add(offset)
	}
	if mutation.SameTxAs != "" {
		other := r.proposed[mutation.SameTxAs]
		if other == nil {
			return nil, fmt.Errorf("there is no transaction %q", mutation.SameTxAs)
		}
		spec.Nonce = other.nonce
		return spec, nil
	}
	_, err := rand.Read(spec.Nonce)
	return spec, err
}

// creator makes one that is not the user's own.
func (r *run) creator(kind string, own []byte) ([]byte, error) {
	switch kind {
	case "empty":
		return nil, nil
	case "garbage":
		return []byte("garbage"), nil
	case "unknown-msp":
		identity := &mspproto.SerializedIdentity{}
		if err := proto.Unmarshal(own, identity); err != nil {
			return nil, err
		}
		identity.Mspid = "UnknownMSP"
		return proto.Marshal(identity)
	}
	other, err := r.identities.user(kind)
	if err != nil {
		return nil, err
	}
	return other.Serialized, nil
}

// spoiled makes a signature what a step wants it to be; as it is, if it wants nothing.
func spoiled(signature []byte, how string) ([]byte, error) {
	switch how {
	case "":
		return signature, nil
	case "empty":
		return nil, nil
	case "garbage":
		return []byte("garbage"), nil
	case "flip":
		var pair struct{ R, S *big.Int }
		if _, err := asn1.Unmarshal(signature, &pair); err != nil {
			return nil, fmt.Errorf("flip signature: %w", err)
		}
		pair.R.Add(pair.R, big.NewInt(1))
		return asn1.Marshal(pair)
	}
	return nil, fmt.Errorf("there is no way to spoil a signature with %q", how)
}

// seal signs an endorsed transaction's envelope as its item in a step says.
func (r *run) seal(p *proposed, tx OrderedTx) (*common.Envelope, error) {
	payload := p.envelope.GetPayload()
	if tx.Envelope != nil {
		var err error
		if payload, err = keepEndorsements(payload, tx.Envelope.Keep); err != nil {
			return nil, fmt.Errorf("keep endorsements of %v: %w", tx.Envelope.Keep, err)
		}
	}
	signer := p.user
	if tx.User != "" {
		var err error
		if signer, err = r.identities.user(tx.User); err != nil {
			return nil, err
		}
	}
	signature, err := signer.Sign(payload)
	if err != nil {
		return nil, err
	}
	return &common.Envelope{Payload: payload, Signature: signature}, nil
}

// keepEndorsements takes every endorsement out of an envelope's payload that is not by one of the organisations.
func keepEndorsements(payload []byte, mspIDs []string) ([]byte, error) {
	outer, transaction, action := &common.Payload{}, &peer.Transaction{}, &peer.ChaincodeActionPayload{}
	if err := proto.Unmarshal(payload, outer); err != nil {
		return nil, err
	}
	if err := proto.Unmarshal(outer.GetData(), transaction); err != nil {
		return nil, err
	}
	if len(transaction.GetActions()) != 1 {
		return nil, fmt.Errorf("the transaction has %d actions", len(transaction.GetActions()))
	}
	if err := proto.Unmarshal(transaction.Actions[0].GetPayload(), action); err != nil {
		return nil, err
	}
	action.Action.Endorsements = slices.DeleteFunc(action.GetAction().GetEndorsements(), func(e *peer.Endorsement) bool {
		return !slices.Contains(mspIDs, mspOf(e.GetEndorser()))
	})
	var err error
	if transaction.Actions[0].Payload, err = proto.Marshal(action); err != nil {
		return nil, err
	}
	if outer.Data, err = proto.Marshal(transaction); err != nil {
		return nil, err
	}
	return proto.Marshal(outer)
}

// mspOf returns the MSP id of a serialized identity, "" if it is none.
func mspOf(serialized []byte) string {
	identity := &mspproto.SerializedIdentity{}
	if err := proto.Unmarshal(serialized, identity); err != nil {
		return ""
	}
	return identity.GetMspid()
}
