package contracttest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	gatewaypb "github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/gateway"
	"peerless/shared/msp"
	"peerless/shared/wire"
)

// Submit runs a function and commits what it wrote. Arguments that are strings or bytes reach the contract as they are, all others
// as JSON, which is how contractapi reads numbers, booleans, lists and structures. A transaction that loses a race against others
// is repeated, as on a server: to see it lose, use Endorse and Commit.
func (l *Ledger) Submit(function string, args ...any) *Result {
	l.t.Helper()
	r, request := l.request(function, args)
	outcome, err := l.gateway.SubmitTransaction(context.Background(), request)
	if err != nil {
		return r.failed(err)
	}
	r.TransactionID, r.Block = outcome.TransactionID, outcome.Block
	return r.succeeded(outcome.Code, outcome.Response)
}

// MustSubmit is Submit, and ends the test if it fails.
func (l *Ledger) MustSubmit(function string, args ...any) *Result {
	l.t.Helper()
	return l.Submit(function, args...).MustSucceed()
}

// Evaluate runs a function and commits nothing.
func (l *Ledger) Evaluate(function string, args ...any) *Result {
	l.t.Helper()
	r, request := l.request(function, args)
	answer, err := l.gateway.EvaluateTransaction(context.Background(), request)
	if err != nil {
		return r.failed(err)
	}
	return r.succeeded(peer.TxValidationCode_VALID, answer.Response)
}

// MustEvaluate is Evaluate, and ends the test if it fails.
func (l *Ledger) MustEvaluate(function string, args ...any) *Result {
	l.t.Helper()
	return l.Evaluate(function, args...).MustSucceed()
}

// request makes a gateway's request, and the result that will tell of it.
func (l *Ledger) request(function string, args []any) (*Result, gateway.Request) {
	l.t.Helper()
	r := &Result{t: l.t, what: call(l.chaincode, function, args), Code: peer.TxValidationCode_NOT_VALIDATED}
	user, encoded := l.inputs(r, args)
	return r, gateway.Request{
		Channel: l.channel, Chaincode: l.chaincode, Function: function, Args: encoded, Transient: l.transient,
		User: user, Organizations: l.endorsers,
	}
}

// inputs returns the user and the encoded arguments. That there is none of either is a mistake in the test, which it ends.
func (l *Ledger) inputs(r *Result, args []any) (*msp.Signer, [][]byte) {
	l.t.Helper()
	user, err := l.signer()
	if err != nil {
		l.t.Fatalf("contracttest: %s: %v", r.what, err)
	}
	encoded := make([][]byte, len(args))
	for i, arg := range args {
		if encoded[i], err = encode(arg); err != nil {
			l.t.Fatalf("contracttest: %s: argument %d: %v", r.what, i+1, err)
		}
	}
	return user, encoded
}

func encode(arg any) ([]byte, error) {
	switch a := arg.(type) {
	case string:
		return []byte(a), nil
	case []byte:
		return a, nil
	}
	return json.Marshal(arg)
}

func call(chaincode, function string, args []any) string {
	text := chaincode + "." + function + "("
	for i, arg := range args {
		if i > 0 {
			text += ", "
		}
		encoded, err := encode(arg)
		switch {
		case err != nil:
			text += fmt.Sprint(arg)
		case len(encoded) > 60:
			text += fmt.Sprintf("%.60q… %d bytes", encoded, len(encoded))
		default:
			text += fmt.Sprintf("%q", encoded)
		}
	}
	return text + ")"
}

// An Endorsed transaction has run and has its endorsements. It is not committed: whatever is committed before it and changes what
// it read makes it invalid.
type Endorsed struct {
	*Result  // what the contract answered; Block and Code are not set
	user     *msp.Signer
	prepared *common.Envelope
}

// Endorse runs a function on the state as it is, and does not commit it. Two transactions endorsed one after the other
// read the same state, as when two clients call at the same time.
//
//	first, second := l.Endorse("Transfer", "a1", "Tom"), l.Endorse("Transfer", "a1", "Anna")
//	results := l.Commit(first, second)
//	// results[0].Code is VALID, results[1].Code is MVCC_READ_CONFLICT
func (l *Ledger) Endorse(function string, args ...any) *Endorsed {
	l.t.Helper()
	return l.endorse(false, function, args)
}

// Init runs the chaincode's Init, where Submit runs its Invoke, and commits what it wrote: once, on a ledger with Options.InitRequired.
func (l *Ledger) Init(function string, args ...any) *Result {
	l.t.Helper()
	return l.Commit(l.endorse(true, function, args))[0]
}

func (l *Ledger) endorse(isInit bool, function string, args []any) *Endorsed {
	l.t.Helper()
	r := &Result{t: l.t, what: call(l.chaincode, function, args), Code: peer.TxValidationCode_NOT_VALIDATED}
	user, encoded := l.inputs(r, args)
	nonce := make([]byte, 24)
	rand.Read(nonce) // never fails
	proposal, err := wire.NewProposal(wire.ProposalSpec{
		Channel: l.channel, Chaincode: l.chaincode, Args: append([][]byte{[]byte(function)}, encoded...), Transient: l.transient,
		Creator: user.Serialized, Nonce: nonce, Timestamp: l.clock.now(), IsInit: isInit,
	})
	if err == nil {
		proposal.Signed.Signature, err = user.Sign(proposal.Signed.ProposalBytes)
	}
	if err != nil {
		l.t.Fatalf("contracttest: %s: %v", r.what, err)
	}
	e := &Endorsed{Result: r, user: user}
	r.TransactionID = proposal.TxID
	answer, err := l.gateway.At(user.MSPID).Endorse(context.Background(), &gatewaypb.EndorseRequest{
		TransactionId: proposal.TxID, ChannelId: l.channel, ProposedTransaction: proposal.Signed, EndorsingOrganizations: l.endorsers,
	})
	if err != nil {
		r.failed(err)
		return e
	}
	e.prepared = answer.PreparedTransaction
	if e.prepared.Signature, err = user.Sign(e.prepared.Payload); err != nil {
		l.t.Fatalf("contracttest: %s: sign: %v", r.what, err)
	}
	tx, _ := wire.ParseEnvelope(wire.NewEnvelope(e.prepared.Payload, e.prepared.Signature))
	r.succeeded(peer.TxValidationCode_NOT_VALIDATED, tx.Response)
	return e
}

// Commit puts endorsed transactions into one block, in this order, and returns what became of each: the Code in its Result is the
// verdict, and Err is set if that is not VALID. The chain keeps those that are invalid too, as Fabric does. One that was not
// endorsed stays out and has the Err of its endorsement.
func (l *Ledger) Commit(transactions ...*Endorsed) []*Result {
	l.t.Helper()
	ctx := context.Background()
	results := make([]*Result, len(transactions))
	var requests []*gatewaypb.SubmitRequest
	for i, e := range transactions {
		settled := *e.Result
		results[i] = &settled
		if e.Err == nil {
			requests = append(requests, &gatewaypb.SubmitRequest{TransactionId: e.TransactionID, ChannelId: l.channel, PreparedTransaction: e.prepared})
		}
	}
	if len(requests) == 0 {
		return results
	}
	refused := l.gateway.At(l.mspID).SubmitAll(ctx, requests)
	for i, e := range transactions {
		if e.Err != nil {
			continue
		}
		err := refused[0]
		refused = refused[1:]
		if err == nil {
			err = l.settle(ctx, e, results[i])
		}
		if err != nil {
			results[i].failed(err)
		}
	}
	return results
}

// settle waits for an endorsed transaction's verdict.
func (l *Ledger) settle(ctx context.Context, e *Endorsed, r *Result) error {
	channel, err := l.ledger.Channel(ctx, l.channel)
	if err != nil {
		return err
	}
	for {
		height, err := channel.Height(ctx)
		if err != nil {
			return err
		}
		entry, err := channel.Entry(ctx, e.TransactionID)
		if err == nil {
			r.Block, r.Code = entry.Version.Block, entry.Code
			if entry.Code != peer.TxValidationCode_VALID {
				r.Err = &gateway.Error{Kind: kindOf(entry.Code), Stage: "commitStatus", TransactionID: e.TransactionID, TxCode: entry.Code,
					Message: fmt.Sprintf("transaction %s is invalid: %s", e.TransactionID, entry.Code)}
			}
			return nil
		}
		if !isNotFound(err) {
			return err
		}
		if err := channel.Wait(ctx, height); err != nil {
			return err
		}
	}
}
