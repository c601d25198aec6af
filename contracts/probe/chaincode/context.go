package chaincode

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"
)

// proposal is the transaction's signed proposal taken apart, so that the stub's word can be compared with it.
type proposal struct {
	signed    *peer.SignedProposal
	channel   common.ChannelHeader
	signature common.SignatureHeader
	extension peer.ChaincodeHeaderExtension
	payload   peer.ChaincodeProposalPayload
}

func (c *call) proposal() (*proposal, error) {
	signed, err := c.stub.GetSignedProposal()
	if err != nil {
		return nil, err
	}
	if signed == nil {
		return nil, errors.New("there is no signed proposal")
	}
	p := &proposal{signed: signed}
	var outer peer.Proposal
	var header common.Header
	for _, part := range []struct {
		encoded func() []byte
		message proto.Message
	}{
		{signed.GetProposalBytes, &outer},
		{outer.GetHeader, &header},
		{header.GetChannelHeader, &p.channel},
		{header.GetSignatureHeader, &p.signature},
		{p.channel.GetExtension, &p.extension},
		{outer.GetPayload, &p.payload},
	} {
		if err := proto.Unmarshal(part.encoded(), part.message); err != nil {
			return nil, fmt.Errorf("signed proposal: %w", err)
		}
	}
	return p, nil
}

func getTxID(c *call, _ *operation) (any, error) {
	p, err := c.proposal()
	if err != nil {
		return nil, err
	}
	id := c.stub.GetTxID()
	computed := sha256.Sum256(append(append([]byte{}, p.signature.GetNonce()...), p.signature.GetCreator()...))
	return strings.Join([]string{
		compare(id, p.channel.GetTxId(), "<txid>"),
		compare(id, hex.EncodeToString(computed[:]), "<sha256 of nonce and creator>"),
	}, ", "), nil
}

// compare gives the name of a value that is as it should be, else says how it differs.
func compare(got, want, name string) string {
	if got == want {
		return name
	}
	return fmt.Sprintf("%q is not %s %q", got, name, want)
}

func getChannelID(c *call, _ *operation) (any, error) {
	p, err := c.proposal()
	if err != nil {
		return nil, err
	}
	return map[string]any{"channel": c.stub.GetChannelID(), "proposal": p.channel.GetChannelId()}, nil
}

func getTxTimestamp(c *call, _ *operation) (any, error) {
	timestamp, err := c.stub.GetTxTimestamp()
	if err != nil {
		return nil, err
	}
	p, err := c.proposal()
	if err != nil {
		return nil, err
	}
	if proto.Equal(timestamp, p.channel.GetTimestamp()) {
		return "<timestamp>", nil
	}
	return compare(timestamp.String(), p.channel.GetTimestamp().String(), "<timestamp>"), nil
}

func getBinding(c *call, _ *operation) (any, error) {
	binding, err := c.stub.GetBinding()
	if err != nil {
		return nil, err
	}
	p, err := c.proposal()
	if err != nil {
		return nil, err
	}
	digested := append(append([]byte{}, p.signature.GetNonce()...), p.signature.GetCreator()...)
	want := sha256.Sum256(binary.LittleEndian.AppendUint64(digested, p.channel.GetEpoch()))
	return compare(hex.EncodeToString(binding), hex.EncodeToString(want[:]), "<sha256 of nonce, creator and epoch>"), nil
}

func getCreator(c *call, _ *operation) (any, error) {
	creator, err := c.stub.GetCreator()
	if err != nil {
		return nil, err
	}
	var identity msp.SerializedIdentity
	if err := proto.Unmarshal(creator, &identity); err != nil {
		return nil, fmt.Errorf("creator: %w", err)
	}
	block, _ := pem.Decode(identity.GetIdBytes())
	if block == nil {
		return nil, errors.New("creator: there is no certificate")
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("creator: %w", err)
	}
	return map[string]any{"mspId": identity.GetMspid(), "commonName": certificate.Subject.CommonName}, nil
}

func getTransient(c *call, _ *operation) (any, error) {
	transient, err := c.stub.GetTransient()
	if err != nil {
		return nil, err
	}
	return showMap(transient), nil
}

func getSignedProposal(c *call, _ *operation) (any, error) {
	p, err := c.proposal()
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"signed":              len(p.signed.GetSignature()) > 0,
		"chaincode":           p.extension.GetChaincodeId().GetName(),
		"channel":             p.channel.GetChannelId(),
		"type":                p.channel.GetType(),
		"epoch":               p.channel.GetEpoch(),
		"transientInProposal": len(p.payload.GetTransientMap()),
	}, nil
}

// showArgs shows the arguments of "run", without repeating the operations themselves.
func showArgs(args [][]byte) any {
	shown := make([]any, len(args))
	for i, arg := range args {
		shown[i] = show(arg)
	}
	if len(shown) > 1 {
		shown[1] = "<operations>"
	}
	return shown
}

func getStringArgs(c *call, _ *operation) (any, error) {
	args := c.stub.GetStringArgs()
	list := make([][]byte, len(args))
	for i, arg := range args {
		list[i] = append([]byte{}, arg...)
	}
	return showArgs(list), nil
}

func getFunctionAndParameters(c *call, _ *operation) (any, error) {
	function, parameters := c.stub.GetFunctionAndParameters()
	return map[string]any{"function": function, "parameters": len(parameters)}, nil
}

func getArgsSlice(c *call, _ *operation) (any, error) {
	slice, err := c.stub.GetArgsSlice()
	if err != nil {
		return nil, err
	}
	return map[string]any{"isConcatenation": bytes.Equal(slice, bytes.Join(c.stub.GetArgs(), nil))}, nil
}
