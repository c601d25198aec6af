package chaincode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/wire"
)

// Config says what is particular about a contract in this process. The zero value works.
type Config struct {
	// Logger takes a contract's panics and what it does wrong. Nil discards it.
	Logger *slog.Logger
}

// inProcess is a contract linked into this program. No message is marshalled on its way.
type inProcess struct {
	session *Session
}

var _ Host = (*inProcess)(nil)

// StartInProcess runs a contract within this program. A panic in its Init or Invoke fails the transaction with ErrCrashed
// and nothing else; one in a goroutine that the contract started itself ends the program, as Go has it. Close ends what is
// under way with ErrCrashed and does not wait for the contract to notice.
func StartInProcess(name string, contract shim.Chaincode, config Config) (Host, error) {
	session := NewSession(nil, SessionConfig{Logger: config.Logger})
	go func() {
		err := shim.StartInProc(name, &shimEnd{session}, &guarded{contract: contract, session: session})
		session.end(fmt.Errorf("shim of %s: %w", name, err))
	}()
	select {
	case <-session.registered:
		return &inProcess{session}, nil
	case <-session.done:
		return nil, fmt.Errorf("%w: start %q in process: %w", ErrUnavailable, name, session.err)
	}
}

func (p *inProcess) Execute(ctx context.Context, inv *Invocation) (*Result, error) {
	return p.session.Execute(ctx, inv)
}

func (p *inProcess) Close() error {
	p.session.retire(errors.New("closed"))
	return nil
}

// shimEnd is the shim's end of a session in this process.
type shimEnd struct{ session *Session }

func (c *shimEnd) Send(msg *peer.ChaincodeMessage) error {
	select {
	case <-c.session.done:
		return io.EOF
	default:
	}
	err := c.session.receive(msg)
	if err != nil {
		c.session.end(err)
	}
	return err
}

// Recv copies what the contract could otherwise change under other readers' eyes.
func (c *shimEnd) Recv() (*peer.ChaincodeMessage, error) {
	select {
	case msg := <-c.session.out:
		return private(msg), nil
	case <-c.session.done:
		return nil, io.EOF
	}
}

func (c *shimEnd) CloseSend() error { return nil }

// private returns a message whose bytes are the receiver's own.
func private(msg *peer.ChaincodeMessage) *peer.ChaincodeMessage {
	own := &peer.ChaincodeMessage{Type: msg.Type, Payload: clone(msg.Payload), Txid: msg.Txid, ChannelId: msg.ChannelId}
	if p := msg.Proposal; p != nil {
		own.Proposal = &peer.SignedProposal{ProposalBytes: clone(p.ProposalBytes), Signature: clone(p.Signature)}
	}
	return own
}

func clone(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append([]byte{}, b...)
}

// guarded keeps a contract's panic within its transaction.
type guarded struct {
	contract shim.Chaincode
	session  *Session
}

func (g *guarded) Init(stub shim.ChaincodeStubInterface) (response *peer.Response) {
	defer g.recover(stub, &response)
	if response = g.contract.Init(g.session.signing(stub)); response == nil {
		panic("Init returned no response")
	}
	return response
}

func (g *guarded) Invoke(stub shim.ChaincodeStubInterface) (response *peer.Response) {
	defer g.recover(stub, &response)
	return g.contract.Invoke(g.session.signing(stub))
}

// signing returns a stub that has the proposal signed when the contract asks for it.
func (s *Session) signing(stub shim.ChaincodeStubInterface) shim.ChaincodeStubInterface {
	s.mu.Lock()
	e := s.executions[txKey{stub.GetChannelID(), stub.GetTxID()}]
	s.mu.Unlock()
	if e == nil || !e.inv.Proposal.SignsLater() {
		return stub
	}
	return &signingStub{stub, e.inv.Proposal}
}

type signingStub struct {
	shim.ChaincodeStubInterface
	proposal *wire.Proposal
}

func (s *signingStub) GetSignedProposal() (*peer.SignedProposal, error) {
	signed, err := s.proposal.SignedProposal()
	if err != nil {
		return nil, err
	}
	return &peer.SignedProposal{ProposalBytes: clone(signed.ProposalBytes), Signature: clone(signed.Signature)}, nil
}

// recover reports a panic as a crash before the shim can answer with the response, which then nobody reads.
func (g *guarded) recover(stub shim.ChaincodeStubInterface, response **peer.Response) {
	cause := recover()
	if cause == nil {
		return
	}
	g.session.config.Logger.Error("contract panicked", "chaincode", g.session.Name(), "channel", stub.GetChannelID(), "tx", stub.GetTxID(),
		"panic", fmt.Sprint(cause), "stack", string(debug.Stack()))
	g.session.crash(stub.GetChannelID(), stub.GetTxID())
	*response = shim.Error("panic")
}
