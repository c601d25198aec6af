package gateway

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc/codes"

	"peerless/shared/chaincode"
	"peerless/shared/channelconfig"
	"peerless/shared/ledger"
	"peerless/shared/organization"
	"peerless/shared/simulate"
	"peerless/shared/wire"
)

// EvaluateTransaction runs a function of a chaincode and returns its response. Nothing is recorded.
func (s *Service) EvaluateTransaction(ctx context.Context, r Request) (*Answer, error) {
	c, err := s.prepare(ctx, "evaluate", r, randomNonce())
	if err != nil {
		return nil, err
	}
	sim, failure, asked := s.readFrom(ctx, c.channel, c.proposal, c.endorsers)
	c.endorsers = asked
	if failure != nil {
		return nil, c.failed(failure, evaluateError)
	}
	return &Answer{Response: sim.response, Height: sim.height}, nil
}

// SubmitTransaction runs a function of a chaincode, has it endorsed and committed, and returns when its block is durable. A
// transaction that loses its race is simulated again, so that the caller sees one outcome; one that ends invalid is not recorded.
func (s *Service) SubmitTransaction(ctx context.Context, r Request) (*Outcome, error) {
	nonce := randomNonce()
	if r.IdempotencyKey != "" {
		nonce = idempotentNonce(r)
	}
	c, err := s.prepare(ctx, "submit", r, nonce)
	if err != nil {
		return nil, err
	}
	if r.IdempotencyKey != "" {
		done, err := s.begin(ctx, c)
		if err != nil {
			return nil, err
		}
		defer done()
		if s.Ledger.Shared {
			return s.transactOnce(ctx, c)
		}
		outcome, err := s.firstOutcome(ctx, c)
		if !errors.Is(err, ledger.ErrNotFound) {
			return outcome, err
		}
	}
	return s.transact(ctx, c)
}

// transactOnce is transact for a call with a client's key, where to ask first costs as much as a part of the call: the ledger
// refuses a repeat, and whatever else a repeat is refused for, its first outcome is the answer.
func (s *Service) transactOnce(ctx context.Context, c *call) (*Outcome, error) {
	outcome, err := s.transact(ctx, c)
	if err == nil {
		return outcome, nil
	}
	if first, firstErr := s.firstOutcome(ctx, c); firstErr == nil {
		return first, nil
	}
	return nil, err
}

func randomNonce() []byte {
	nonce := make([]byte, 24)
	rand.Read(nonce) // never fails
	return nonce
}

// idempotentNonce derives a transaction's nonce from what a client's key stands for.
func idempotentNonce(r Request) []byte {
	h := sha256.New()
	for _, part := range []string{"peerless idempotency key", r.Channel, r.Chaincode, r.IdempotencyKey} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return h.Sum(nil)[:24]
}

// A call is a request on its way.
type call struct {
	*Service
	request   Request
	stage     string
	channel   *ledger.Channel
	proposal  *wire.Proposal
	endorsers []*organization.Endorser // those that may sign; the user's organisation's first
	named     bool                     // the request names them
	tried     bool                     // it was submitted before, or may have been
}

// prepare checks a request and makes its signed proposal.
func (s *Service) prepare(ctx context.Context, stage string, r Request, nonce []byte) (*call, error) {
	for i, arg := range r.Args {
		if len(arg) > MaxArgument {
			return nil, &Error{Kind: TooLarge, Stage: stage, Code: codes.InvalidArgument, Limit: MaxArgument,
				Message: fmt.Sprintf("argument %d has %d bytes, the limit is %d", i+1, len(arg), MaxArgument)}
		}
	}
	channel, err := s.Channel(ctx, r.Channel)
	if err != nil {
		return nil, err
	}
	if err := allowed(channel, channelconfig.PathWriters, r.User.Serialized); err != nil {
		message := err.Error()
		if members := channel.Config().Members(); !slices.Contains(members, r.User.MSPID) {
			message = fmt.Sprintf("%s is not a member of channel %s: call as a user of %s", r.User.MSPID, r.Channel, strings.Join(members, " or "))
		}
		return nil, &Error{Kind: Forbidden, Stage: stage, Code: codes.PermissionDenied, Message: message, Cause: err}
	}
	endorsers, err := s.endorsers(channel, r.User.MSPID, r.Organizations)
	if err != nil {
		return nil, err
	}
	if len(r.Transient) > 0 && len(r.Organizations) == 0 {
		if endorsers[0].MSPID != r.User.MSPID {
			return nil, unprotected(stage)
		}
		if stage == "evaluate" {
			endorsers = endorsers[:1]
		}
	}
	c := &call{Service: s, request: r, stage: stage, channel: channel, endorsers: endorsers, named: len(r.Organizations) > 0}
	return c, c.propose(nonce)
}

// propose makes the call's signed proposal.
func (c *call) propose(nonce []byte) error {
	r := c.request
	args := make([][]byte, 0, len(r.Args)+1)
	args = append(append(args, []byte(r.Function)), r.Args...)
	proposal, err := wire.NewProposal(wire.ProposalSpec{
		Channel: r.Channel, Chaincode: r.Chaincode, Args: args, Transient: r.Transient, Creator: r.User.Serialized, Nonce: nonce, Timestamp: c.Clock(),
		IsInit: r.Init,
	})
	if err != nil {
		return invalidArgument(c.stage, "%v", err)
	}
	proposal.SignLater(r.User.Sign)
	c.proposal = proposal
	return nil
}

// renew gives the call a new id for its next try, unless a client's key has made it, or another process may have got it.
func (c *call) renew() error {
	c.tried = true
	if c.request.IdempotencyKey != "" || c.Ledger.Shared {
		return nil
	}
	return c.propose(randomNonce())
}

// transact simulates and submits until the transaction is valid, or has failed for good.
func (s *Service) transact(ctx context.Context, c *call) (*Outcome, error) {
	defer c.channel.Join()()
	wait := time.Millisecond
	again := func() error {
		if err := sleep(ctx, mathrand.N(wait)+wait/2); err != nil {
			return storeError("submit", "transaction "+c.proposal.TxID, err)
		}
		wait = min(2*wait, 100*time.Millisecond)
		return c.renew()
	}
	for attempt := 1; ; attempt++ {
		submission, sim, err := c.simulated(ctx)
		if (errors.Is(err, chaincode.ErrDuplicate) || errors.Is(err, simulate.ErrStale) || errors.Is(err, errBehind)) && attempt < s.Attempts {
			// An earlier try of this transaction, given up for time, still runs; or the state changed under it, or an endorser elsewhere
			// has another.
			if err := again(); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		verdict, err := c.channel.Submit(ctx, submission)
		if err != nil {
			e := storeError("submit", "transaction "+c.proposal.TxID, err)
			e.TransactionID = c.proposal.TxID
			return nil, e
		}
		switch verdict.Code {
		case peer.TxValidationCode_VALID:
			response := sim.response
			if verdict.Rerun != nil {
				response = verdict.Rerun.Tx.Response
			}
			return &Outcome{TransactionID: c.proposal.TxID, Block: verdict.Version.Block, Code: verdict.Code, Response: response}, nil
		case peer.TxValidationCode_DUPLICATE_TXID:
			return s.firstOutcome(ctx, c)
		case peer.TxValidationCode_MVCC_READ_CONFLICT, peer.TxValidationCode_PHANTOM_READ_CONFLICT:
			if attempt < s.Attempts {
				if err := again(); err != nil {
					return nil, err
				}
				continue
			}
		}
		return nil, invalid(c.proposal.TxID, verdict.Code, attempt)
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// invalid is the Error of a transaction judged invalid and not recorded.
func invalid(txID string, code peer.TxValidationCode, attempts int) *Error {
	e := &Error{Kind: TransactionInvalid, Stage: "submit", Code: codes.Aborted, TransactionID: txID, TxCode: code,
		Message: fmt.Sprintf("transaction %s is invalid: %s; nothing was committed", txID, code)}
	switch code {
	case peer.TxValidationCode_MVCC_READ_CONFLICT:
		e.Kind = MVCCReadConflict
		e.Message = fmt.Sprintf("what transaction %s read was changed by others each of the %d times it was tried; nothing was committed: try again", txID, attempts)
	case peer.TxValidationCode_PHANTOM_READ_CONFLICT:
		e.Kind = PhantomReadConflict
		e.Message = fmt.Sprintf("a range that transaction %s read was changed by others each of the %d times it was tried; nothing was committed: try again", txID, attempts)
	case peer.TxValidationCode_ENDORSEMENT_POLICY_FAILURE:
		e.Kind = EndorsementPolicyFailure
		e.Message = fmt.Sprintf("the endorsements of transaction %s do not satisfy the endorsement policy; nothing was committed: name the organisations that must endorse, or none", txID)
	}
	return e
}

// simulated runs the call on the present state and makes a submission of it. A refusal that rests on a state which is not the
// present one, or was none, is not believed.
func (c *call) simulated(ctx context.Context) (*ledger.Submission, *simulation, error) {
	view, err := c.channel.Draft(ctx, c.tried)
	for attempt := 1; err == nil; attempt++ {
		height, fixed := view.Savepoint(), view.Fixed()
		submission, sim, refusal := c.over(ctx, view, false)
		view.Close()
		var e *Error
		if fixed || attempt == c.Attempts || !errors.As(refusal, &e) || !e.Kind.ofState() {
			return submission, sim, refusal
		}
		var now uint64
		if now, err = c.channel.Height(ctx); err != nil {
			break
		}
		if now == height {
			return nil, nil, refusal
		}
		view, err = c.channel.View(ctx)
	}
	return nil, nil, storeError("submit", "channel "+c.channel.Name(), err)
}

// ofState reports whether a failure follows from the state that a chaincode ran on.
func (k Kind) ofState() bool {
	return k == ChaincodeError || k == NotFound || k == EndorsementPolicyFailure
}

// over runs the call on a view of the channel and makes a submission of it. here says that there is no time to ask endorsers that
// run elsewhere.
func (c *call) over(ctx context.Context, view ledger.View, here bool) (*ledger.Submission, *simulation, error) {
	run := &endorsing{Service: c.Service, channel: c.channel, view: view, proposal: c.proposal, named: c.named, here: here}
	endorsed, err := run.collect(ctx, c.endorsers)
	if err != nil {
		return nil, nil, c.plainly(err)
	}
	submission, err := c.sign(endorsed)
	if err != nil {
		return nil, nil, err
	}
	if !endorsed.away {
		submission.Rerun = func(ctx context.Context, view ledger.View) (*ledger.Submission, error) {
			again, _, err := c.over(ctx, view, true)
			return again, err
		}
	}
	return submission, endorsed.sim, nil
}

// plainly says plainly that there is no such chaincode.
func (c *call) plainly(err error) error {
	var e *Error
	if errors.As(err, &e) && e.Kind == NotFound {
		return undefined(c.channel.Name(), c.proposal.Chaincode)
	}
	return err
}

// failed makes the Error of a call. That there is no such chaincode is said plainly.
func (c *call) failed(failure *endorserError, otherwise func(*endorserError, string, []*organization.Endorser) *Error) *Error {
	if failure.kind == NotFound {
		return undefined(c.channel.Name(), c.proposal.Chaincode)
	}
	return otherwise(failure, c.proposal.TxID, c.endorsers)
}

// submission endorses a simulation that nobody is asked to repeat, and signs the transaction for the user.
func (c *call) submission(sim *simulation, endorsers []*organization.Endorser) (*ledger.Submission, error) {
	endorsed := &endorsement{}
	if err := endorsed.sign(c.proposal, sim, endorsers, nil); err != nil {
		return nil, &Error{Kind: Internal, Stage: "endorse", Code: codes.Internal, Message: err.Error(), Cause: err}
	}
	return c.sign(endorsed)
}

// sign signs an endorsed transaction for the user.
func (c *call) sign(endorsed *endorsement) (*ledger.Submission, error) {
	signature, err := c.request.User.Sign(endorsed.payload)
	if err != nil {
		return nil, &Error{Kind: Internal, Stage: "submit", Code: codes.Internal, Message: "sign transaction: " + err.Error(), Cause: err}
	}
	envelope := wire.NewEnvelope(endorsed.payload, signature)
	if len(envelope) > MaxTransaction {
		return nil, &Error{Kind: TooLarge, Stage: "submit", Code: codes.InvalidArgument, Limit: MaxTransaction, TransactionID: c.proposal.TxID,
			Message: fmt.Sprintf("the transaction has %d bytes, the limit is %d", len(envelope), MaxTransaction)}
	}
	p, sim := c.proposal, endorsed.sim
	return &ledger.Submission{
		Envelope: envelope,
		Trusted:  true,
		Fresh:    c.request.IdempotencyKey == "" && !c.tried,
		Private:  sim.private,
		Tx: &wire.Transaction{
			TxID: p.TxID, Channel: p.Channel, Type: common.HeaderType_ENDORSER_TRANSACTION, Creator: p.Creator, Nonce: p.Nonce, Timestamp: p.Timestamp,
			Payload: endorsed.payload, Signature: signature, Chaincode: p.Chaincode, Args: p.Input.Args, ResponsePayload: endorsed.responsePayload,
			Endorsements: endorsed.endorsements, Response: sim.response, Event: sim.event,
			ChaincodeID: &peer.ChaincodeID{Name: p.Chaincode, Version: sim.version}, Results: sim.results, RWSet: sim.rwset,
		},
	}, nil
}

// begin makes this the only transaction under way with its id, waiting for one that is; call done when it has ended.
func (s *Service) begin(ctx context.Context, c *call) (done func(), err error) {
	key := c.channel.Name() + "/" + c.proposal.TxID
	for {
		s.mu.Lock()
		before := s.underway[key]
		if before == nil {
			mine := make(chan struct{})
			s.underway[key] = mine
			s.mu.Unlock()
			return func() {
				s.mu.Lock()
				delete(s.underway, key)
				s.mu.Unlock()
				close(mine)
			}, nil
		}
		s.mu.Unlock()
		select {
		case <-before:
		case <-ctx.Done():
			return nil, storeError("submit", "transaction "+c.proposal.TxID, ctx.Err())
		}
	}
}

// firstOutcome returns the outcome of the recorded transaction with the call's id: the call is a repeat of it. The error is a
// ledger.ErrNotFound if there is no such transaction.
func (s *Service) firstOutcome(ctx context.Context, c *call) (*Outcome, error) {
	record, err := c.channel.Transaction(ctx, c.proposal.TxID)
	if err != nil {
		return nil, storeError("submit", "transaction "+c.proposal.TxID, err)
	}
	if record.Tx == nil || !slices.EqualFunc(record.Tx.Args, c.proposal.Input.Args, slices.Equal[[]byte]) {
		return nil, &Error{Kind: IdempotencyKeyReused, Stage: "submit", Code: codes.AlreadyExists, TransactionID: c.proposal.TxID,
			Message: "the idempotency key was used before, for another function or other arguments: take a new key for a new transaction"}
	}
	if record.Code != peer.TxValidationCode_VALID {
		return nil, invalid(c.proposal.TxID, record.Code, 1)
	}
	return &Outcome{TransactionID: c.proposal.TxID, Block: record.Version.Block, Code: record.Code, Response: record.Tx.Response}, nil
}

func ignoreNotFound(err error) error {
	if errors.Is(err, ledger.ErrNotFound) {
		return nil
	}
	return err
}
