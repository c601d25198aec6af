package chaincode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"
)

// Sizes of the batches a chaincode may send, told to it with READY. They are Fabric's defaults (core.yaml,
// chaincode.runtimeParams).
const (
	MaxWriteBatch   = 1000 // writes in one WRITE_BATCH_STATE
	MaxMultipleKeys = 1000 // keys in one GET_STATE_MULTIPLE
)

// outgoing is how many messages may wait for the stream before their senders wait too.
const outgoing = 64

// A Stream carries messages to and from one chaincode. Send and Recv are each called by one goroutine at a time.
// peer.ChaincodeSupport_RegisterServer and peer.Chaincode_ConnectClient fit.
type Stream interface {
	Send(*peer.ChaincodeMessage) error
	Recv() (*peer.ChaincodeMessage, error)
}

// SessionConfig says what is particular about a session. The zero value works.
type SessionConfig struct {
	// Register decides on the name that a chaincode registers with (CORE_CHAINCODE_ID_NAME). Its error ends the session.
	// Nil accepts every name that is not empty.
	Register func(name string) error
	// KeepAlive is the interval of KEEPALIVE messages. 0 sends none.
	KeepAlive time.Duration
	// Logger takes what the chaincode does wrong. Nil discards it.
	Logger *slog.Logger
}

// A Session is the peer's end of one chaincode stream: it answers what many transactions ask for at once. It is safe for
// concurrent use. Messages of a transaction are handled by the goroutine that executes it, so a slow read of one delays no
// other.
type Session struct {
	stream Stream
	config SessionConfig
	out    chan *peer.ChaincodeMessage // to the chaincode

	registered chan struct{} // closed when READY has been sent
	retired    chan struct{} // closed when executions are to end
	done       chan struct{} // closed when the stream has ended

	mu         sync.Mutex
	name       string // set before registered is closed
	executions map[txKey]*execution
	retiring   bool
	err        error // why done is closed
}

// A txKey names a transaction within a session, as Fabric does.
type txKey struct{ channel, txID string }

// NewSession returns a session over a stream. Nothing happens before Run.
func NewSession(stream Stream, config SessionConfig) *Session {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	return &Session{
		stream:     stream,
		config:     config,
		out:        make(chan *peer.ChaincodeMessage, outgoing),
		registered: make(chan struct{}),
		retired:    make(chan struct{}),
		done:       make(chan struct{}),
		executions: map[txKey]*execution{},
	}
}

// Registered is closed when the chaincode has registered and transactions can run.
func (s *Session) Registered() <-chan struct{} { return s.registered }

// Done is closed when the session has ended. All executions then return ErrCrashed.
func (s *Session) Done() <-chan struct{} { return s.done }

// Name returns the name that the chaincode registered with, empty before.
func (s *Session) Name() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.name
}

// Run serves the stream until it ends or ctx does, and returns why: io.EOF if the chaincode closed it. The stream itself
// is the caller's to end: a Recv or Send that blocks when ctx ends keeps its goroutine until it returns, as gRPC's do
// when the call's handler returns or its context ends. Call it once.
func (s *Session) Run(ctx context.Context) error {
	go s.read()
	go s.write()
	select {
	case <-ctx.Done():
		s.end(ctx.Err())
	case <-s.done:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *Session) read() {
	for {
		msg, err := s.stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			s.end(io.EOF)
			return
		case err != nil:
			s.end(fmt.Errorf("receive from chaincode: %w", err))
			return
		}
		if err := s.receive(msg); err != nil {
			s.end(err)
			return
		}
		select {
		case <-s.done:
			return
		default:
		}
	}
}

func (s *Session) write() {
	var keepAlive <-chan time.Time
	if s.config.KeepAlive > 0 {
		ticker := time.NewTicker(s.config.KeepAlive)
		defer ticker.Stop()
		keepAlive = ticker.C
	}
	for {
		var msg *peer.ChaincodeMessage
		select {
		case msg = <-s.out:
		case <-keepAlive:
			msg = &peer.ChaincodeMessage{Type: peer.ChaincodeMessage_KEEPALIVE}
		case <-s.done:
			return
		}
		if err := s.stream.Send(msg); err != nil {
			s.end(fmt.Errorf("send %s to chaincode: %w", msg.Type, err))
			return
		}
	}
}

// end ends the session for the reason given. Only the first reason counts.
func (s *Session) end(reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLocked(reason)
}

func (s *Session) endLocked(reason error) {
	if s.err == nil {
		s.err = reason
		close(s.done)
	}
}

// retire lets no further execution begin, ends those under way, and the session as soon as the chaincode has answered
// for all of them. What it still asks for is refused.
func (s *Session) retire(reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.retiring {
		return
	}
	s.retiring = true
	close(s.retired)
	if len(s.executions) == 0 {
		s.endLocked(reason)
	}
}

// receive takes a message from the chaincode; calls must not overlap. An error is a reason to end the session.
func (s *Session) receive(msg *peer.ChaincodeMessage) error {
	if msg == nil {
		return fmt.Errorf("%w: nil message", ErrProtocol)
	}
	if msg.Type == peer.ChaincodeMessage_KEEPALIVE {
		return nil
	}
	select {
	case <-s.registered:
		return s.route(msg)
	default:
		return s.register(msg)
	}
}

// register answers the message that opens the stream.
func (s *Session) register(msg *peer.ChaincodeMessage) error {
	if msg.Type != peer.ChaincodeMessage_REGISTER {
		return fmt.Errorf("%w: %s before REGISTER", ErrProtocol, msg.Type)
	}
	id := &peer.ChaincodeID{}
	if err := proto.Unmarshal(msg.Payload, id); err != nil {
		return fmt.Errorf("%w: REGISTER: %w", ErrProtocol, err)
	}
	if id.Name == "" {
		return fmt.Errorf("%w: error in handling register chaincode, chaincodeID name is empty", ErrProtocol)
	}
	if s.config.Register != nil {
		if err := s.config.Register(id.Name); err != nil {
			return fmt.Errorf("register chaincode %s: %w", id.Name, err)
		}
	}
	params, err := proto.Marshal(&peer.ChaincodeAdditionalParams{
		UseWriteBatch:          true,
		MaxSizeWriteBatch:      MaxWriteBatch,
		UseGetMultipleKeys:     true,
		MaxSizeGetMultipleKeys: MaxMultipleKeys,
	})
	if err != nil {
		return fmt.Errorf("marshal READY: %w", err)
	}
	s.reply(&peer.ChaincodeMessage{Type: peer.ChaincodeMessage_REGISTERED})
	s.reply(&peer.ChaincodeMessage{Type: peer.ChaincodeMessage_READY, Payload: params})
	s.mu.Lock()
	s.name = id.Name
	s.mu.Unlock()
	close(s.registered)
	return nil
}

// route hands a message to the execution it belongs to. One that belongs to none is refused if it asks for something,
// and forgotten otherwise.
func (s *Session) route(msg *peer.ChaincodeMessage) error {
	key := txKey{msg.ChannelId, msg.Txid}
	s.mu.Lock()
	e := s.executions[key]
	if e != nil && !e.abandoned {
		e.deliver(msg)
		s.mu.Unlock()
		return nil
	}
	if e != nil && (msg.Type == peer.ChaincodeMessage_COMPLETED || msg.Type == peer.ChaincodeMessage_ERROR) {
		s.forgetLocked(key)
	}
	s.mu.Unlock()

	s.config.Logger.Debug("message for no transaction under way", "type", msg.Type.String(), "channel", msg.ChannelId, "tx", msg.Txid)
	if requests[msg.Type] != nil {
		s.reply(refusal(msg))
	}
	return nil
}

// forgetLocked removes an execution; the last one ends a retiring session.
func (s *Session) forgetLocked(key txKey) {
	delete(s.executions, key)
	if s.retiring && len(s.executions) == 0 {
		s.endLocked(ErrCrashed)
	}
}

// reply queues a message for the chaincode, waiting if it must.
func (s *Session) reply(msg *peer.ChaincodeMessage) {
	select {
	case s.out <- msg:
	case <-s.done:
	}
}

// refusal answers a request that belongs to no transaction under way.
func refusal(msg *peer.ChaincodeMessage) *peer.ChaincodeMessage {
	text := "no ledger context"
	if msg.Type == peer.ChaincodeMessage_INVOKE_CHAINCODE {
		text = "could not get valid transaction"
	}
	return failure(msg, errors.New(text))
}

// failure answers a request with an error, in Fabric's words.
func failure(msg *peer.ChaincodeMessage, err error) *peer.ChaincodeMessage {
	return &peer.ChaincodeMessage{
		Type:      peer.ChaincodeMessage_ERROR,
		Payload:   fmt.Appendf(nil, "%s failed: transaction ID: %s: %v", msg.Type, msg.Txid, err),
		Txid:      msg.Txid,
		ChannelId: msg.ChannelId,
	}
}
