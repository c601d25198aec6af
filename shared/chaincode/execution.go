package chaincode

import (
	"context"
	"errors"
	"fmt"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"
)

// inboxSize is how many messages of one transaction may wait. The shim sends one and waits for its answer; the rest is
// room for a contract that answers while a goroutine of its own still asks.
const inboxSize = 8

// An execution is a transaction under way on a session.
type execution struct {
	session *Session // nil if the contract runs elsewhere, and so are key and inbox
	inv     *Invocation
	key     txKey
	inbox   chan incoming
	queries map[string]*query // open iterators by their id
	queryID int

	elsewhere bool // a part of an execution elsewhere: Collections

	// Of session.mu:
	abandoned bool // Execute has returned, the chaincode has not answered
	flooded   bool // the inbox overflowed
}

// incoming is a message from the chaincode, or the end of it.
type incoming struct {
	msg *peer.ChaincodeMessage
	err error
}

// deliver queues a message without waiting. It needs session.mu.
func (e *execution) deliver(msg *peer.ChaincodeMessage) {
	select {
	case e.inbox <- incoming{msg: msg}:
	default:
		e.flooded = true
	}
}

// Execute runs an invocation on the chaincode, as Host.Execute says. It waits for the chaincode to register.
func (s *Session) Execute(ctx context.Context, inv *Invocation) (*Result, error) {
	answer, err := s.execute(ctx, inv)
	if err != nil {
		return nil, fmt.Errorf("error sending: %w", err)
	}
	return inv.result(answer)
}

// execute returns the message that ends the execution: COMPLETED or ERROR.
func (s *Session) execute(ctx context.Context, inv *Invocation) (*peer.ChaincodeMessage, error) {
	select {
	case <-s.registered:
	case <-s.done:
		return nil, ErrCrashed
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		return nil, interrupted(ctx)
	}
	msg, err := inv.message(s.stream == nil)
	if err != nil {
		return nil, err
	}
	e, err := s.begin(inv, msg)
	if err != nil {
		return nil, err
	}
	select {
	case s.out <- msg:
	case <-s.done:
		e.finish()
		return nil, ErrCrashed
	case <-ctx.Done():
		e.finish()
		return nil, interrupted(ctx)
	}
	return e.run(ctx)
}

// message builds the message that starts an execution. A contract in this process has a proposal that is signed later signed
// when it asks for it; any other is given the signature.
func (inv *Invocation) message(inProcess bool) (*peer.ChaincodeMessage, error) {
	signed := inv.Proposal.Signed
	if !inProcess {
		var err error
		if signed, err = inv.Proposal.SignedProposal(); err != nil {
			return nil, fmt.Errorf("failed to create chaincode message: %w", err)
		}
	}
	payload, err := proto.Marshal(inv.Input)
	if err != nil {
		return nil, fmt.Errorf("failed to create chaincode message: %w", err)
	}
	kind := peer.ChaincodeMessage_TRANSACTION
	if inv.Init {
		kind = peer.ChaincodeMessage_INIT
	}
	return &peer.ChaincodeMessage{
		Type:      kind,
		Payload:   payload,
		Txid:      inv.Proposal.TxID,
		ChannelId: inv.Channel,
		Proposal:  signed,
	}, nil
}

// begin enters an execution, unless one of the same transaction is under way.
func (s *Session) begin(inv *Invocation, msg *peer.ChaincodeMessage) (*execution, error) {
	e := &execution{session: s, inv: inv, key: txKey{msg.ChannelId, msg.Txid}, inbox: make(chan incoming, inboxSize)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.retiring || s.err != nil {
		return nil, ErrCrashed
	}
	if s.executions[e.key] != nil {
		return nil, fmt.Errorf("txid: %s(%s) %w", msg.Txid, msg.ChannelId, ErrDuplicate)
	}
	s.executions[e.key] = e
	return e, nil
}

// run answers the chaincode until it is finished, or ctx or the session is.
func (e *execution) run(ctx context.Context) (*peer.ChaincodeMessage, error) {
	s := e.session
	defer e.closeQueries()
	for {
		var in incoming
		select {
		case in = <-e.inbox:
		case <-ctx.Done():
			e.abandon()
			return nil, interrupted(ctx)
		case <-s.retired:
			e.abandon()
			return nil, ErrCrashed
		case <-s.done:
			// What came before the end counts.
			select {
			case in = <-e.inbox:
			default:
				e.finish()
				return nil, ErrCrashed
			}
		}
		if in.err != nil {
			e.abandon()
			return nil, in.err
		}
		switch in.msg.Type {
		case peer.ChaincodeMessage_COMPLETED, peer.ChaincodeMessage_ERROR:
			e.finish()
			return in.msg, nil
		}
		out, err := e.handle(ctx, in.msg)
		if err != nil {
			e.abandon()
			return nil, err
		}
		e.send(ctx, out)
		if e.overflowed() {
			e.abandon()
			return nil, fmt.Errorf("%w: more than %d messages of transaction %s without waiting for an answer", ErrProtocol, inboxSize, e.key.txID)
		}
	}
}

// send queues an answer, if there is room even when ctx has ended: the contract waits for it.
func (e *execution) send(ctx context.Context, msg *peer.ChaincodeMessage) {
	select {
	case e.session.out <- msg:
		return
	default:
	}
	select {
	case e.session.out <- msg:
	case <-e.session.done:
	case <-ctx.Done():
	}
}

func (e *execution) overflowed() bool {
	e.session.mu.Lock()
	defer e.session.mu.Unlock()
	return e.flooded
}

// abandon leaves an execution that the chaincode has not finished. Its transaction cannot run again on this session
// until the chaincode has answered, so that messages of two executions are never mixed.
func (e *execution) abandon() {
	e.session.mu.Lock()
	defer e.session.mu.Unlock()
	e.abandoned = true
	if e.refuseLocked() {
		e.session.forgetLocked(e.key)
	}
}

// finish leaves an execution that the chaincode has finished, or cannot any more.
func (e *execution) finish() {
	e.session.mu.Lock()
	defer e.session.mu.Unlock()
	e.refuseLocked()
	e.session.forgetLocked(e.key)
}

// refuseLocked refuses the requests that nobody will handle, as Session.route does with those to come, and reports
// whether the chaincode has finished. It does not wait: a chaincode that does not read is told nothing.
func (e *execution) refuseLocked() (finished bool) {
	for {
		select {
		case in := <-e.inbox:
			switch {
			case in.msg == nil:
			case in.msg.Type == peer.ChaincodeMessage_COMPLETED, in.msg.Type == peer.ChaincodeMessage_ERROR:
				finished = true
			case requests[in.msg.Type] != nil:
				select {
				case e.session.out <- refusal(in.msg):
				default:
				}
			}
		default:
			return finished
		}
	}
}

// result reads the message that ended an execution.
func (inv *Invocation) result(answer *peer.ChaincodeMessage) (*Result, error) {
	if answer.Type == peer.ChaincodeMessage_ERROR {
		return nil, fmt.Errorf("%w: %s", ErrFailed, answer.Payload)
	}
	response := &peer.Response{}
	if err := proto.Unmarshal(answer.Payload, response); err != nil {
		return nil, fmt.Errorf("%w: failed to unmarshal response for transaction %s: %w", ErrProtocol, inv.Proposal.TxID, err)
	}
	result := &Result{Response: response}
	if event := answer.ChaincodeEvent; event != nil {
		result.Event = &peer.ChaincodeEvent{
			ChaincodeId: inv.Chaincode,
			TxId:        inv.Proposal.TxID,
			EventName:   event.EventName,
			Payload:     clone(event.Payload),
		}
	}
	return result, nil
}

// interrupted says how ctx ended.
func interrupted(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return ErrTimeout
	}
	return ctx.Err()
}

// crash ends a transaction's execution as if its chaincode had crashed. What the chaincode says of it later is ignored.
func (s *Session) crash(channel, txID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.executions[txKey{channel, txID}]; e != nil && !e.abandoned {
		select {
		case e.inbox <- incoming{err: ErrCrashed}:
		default:
			e.flooded = true
		}
	}
}
