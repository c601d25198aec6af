package gateway_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	service "peerless/shared/gateway"
	"peerless/shared/msp"
	"peerless/shared/organization"
)

// away makes one organisation's endorser of a service one that runs elsewhere: in another service over the same ledger, whose answers a
// test may spoil.
type away struct {
	*organization.Registry
	mspID string
	there *service.Service
	asked atomic.Int64
	spoil func(*peer.ProposalResponse) error // nil: nothing is spoilt
	ran   func(height uint64) uint64         // what it says of the height; nil: the truth
}

func (a *away) Endorser(mspID string) (*organization.Endorser, error) {
	e, err := a.Registry.Endorser(mspID)
	if err != nil || mspID != a.mspID {
		return e, err
	}
	return &organization.Endorser{Identity: e.Identity, Connection: organization.Connection{Address: "elsewhere:9051"}}, nil
}

func (a *away) ProcessProposal(ctx context.Context, _ *organization.Endorser, signed *peer.SignedProposal, height uint64) (*peer.ProposalResponse, uint64, error) {
	a.asked.Add(1)
	response, ran, err := a.there.At(a.mspID).ProcessProposal(ctx, signed, height)
	if err != nil {
		return nil, 0, err.(*service.Error).GRPCStatus().Err()
	}
	if a.spoil != nil {
		err = a.spoil(response)
	}
	if a.ran != nil {
		ran = a.ran(ran)
	}
	return response, ran, err
}

// withAway is a market whose second organisation endorses elsewhere.
func withAway(t *testing.T, policy string, packages map[string]*pricing) (*platform, *away) {
	t.Helper()
	s := market(t, policy, packages)
	a := &away{Registry: s.Organizations.(*organization.Registry), mspID: "Org2MSP", there: s.Service}
	config := s.Config
	config.Organizations, config.Remote = a, a
	here, err := service.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return &platform{here, s.user, s.store, s.spec}, a
}

// TestRemote: an endorser that runs elsewhere signs, is asked once, and counts for policies as any.
func TestRemote(t *testing.T) {
	t.Parallel()
	s, a := withAway(t, "AND('PeerlessMSP.peer', 'Org2MSP.peer')", map[string]*pricing{"": {price: "1"}})
	for range 3 {
		if err := s.sell(t, "price"); err != nil {
			t.Fatal(err)
		}
	}
	if n := a.asked.Load(); n != 3 {
		t.Errorf("for three transactions it was asked %d times", n)
	}
	// Where nobody needs it nobody asks it.
	s, a = withAway(t, "OR('PeerlessMSP.peer', 'Org2MSP.peer')", map[string]*pricing{"": {price: "1"}})
	if err := s.sell(t, "price"); err != nil {
		t.Fatal(err)
	}
	if n := a.asked.Load(); n != 0 {
		t.Errorf("it was asked %d times without need", n)
	}
}

// TestRemoteAnswers: of what an endorser elsewhere answers nothing is believed.
func TestRemoteAnswers(t *testing.T) {
	t.Parallel()
	other, err := msp.NewCA("Org2MSP")
	if err != nil {
		t.Fatal(err)
	}
	certificate, key, err := other.Issue(msp.IssueRequest{CommonName: "mallory", Role: msp.RolePeer})
	if err != nil {
		t.Fatal(err)
	}
	mallory, err := msp.NewSigner("Org2MSP", certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	resign := func(r *peer.ProposalResponse, as *msp.Signer) error {
		signature, err := as.Sign(slices.Concat(r.Payload, as.Serialized))
		r.Endorsement = &peer.Endorsement{Endorser: as.Serialized, Signature: signature}
		return err
	}
	var earlier *peer.ProposalResponse
	for name, test := range map[string]struct {
		spoil func(*peer.ProposalResponse) error
		kind  service.Kind
		want  string
	}{
		"a signature that is none": {func(r *peer.ProposalResponse) error { r.Endorsement.Signature[8] ^= 1; return nil }, service.Internal, "cannot be used: the signature is invalid"},
		"another authority":        {func(r *peer.ProposalResponse) error { return resign(r, mallory) }, service.Internal, "cannot be used: malformed identity"},
		"no endorsement":           {func(r *peer.ProposalResponse) error { r.Endorsement = nil; return nil }, service.Internal, "cannot be used: unknown MSP"},
		"no response":              {func(r *peer.ProposalResponse) error { r.Response = nil; return nil }, service.Internal, "it has no response"},
		"another proposal's": {func(r *peer.ProposalResponse) error {
			if earlier == nil {
				earlier = proto.CloneOf(r)
				return nil
			}
			proto.Reset(r)
			proto.Merge(r, earlier)
			return nil
		}, service.Internal, "it is of another proposal"},
		"a failure": {func(r *peer.ProposalResponse) error {
			r.Response = &peer.Response{Status: 500, Message: "no"}
			return nil
		}, service.ChaincodeError, "chaincode response 500, no"},
		"a refusal":      {func(*peer.ProposalResponse) error { return status.Error(codes.Unknown, "access denied") }, service.Forbidden, "Org2MSP: access denied"},
		"no answer":      {func(*peer.ProposalResponse) error { return status.Error(codes.Unavailable, "nobody there") }, service.Unavailable, "Org2MSP: rpc error: code = Unavailable desc = nobody there"},
		"one that hangs": {func(*peer.ProposalResponse) error { return status.FromContextError(context.DeadlineExceeded).Err() }, service.Unavailable, "DeadlineExceeded"},
	} {
		s, a := withAway(t, "AND('PeerlessMSP.peer', 'Org2MSP.peer')", map[string]*pricing{"": {price: "1"}})
		a.spoil = test.spoil
		err := s.sell(t, "price")
		if err == nil && name == "another proposal's" {
			err = s.sell(t, "price")
		}
		var e *service.Error
		if !errors.As(err, &e) || e.Kind != test.kind || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %s with %s", name, err, test.kind, test.want)
			continue
		}
		if len(e.Details) != 1 || e.Details[0].Address != "elsewhere:9051" || e.Details[0].MSPID != "Org2MSP" {
			t.Errorf("%s: details %+v", name, e.Details)
		}
	}
}

// TestRemoteOnAnotherState: an endorser that ran on another state and came to something else is asked anew; one that did so on the same
// state is not.
func TestRemoteOnAnotherState(t *testing.T) {
	t.Parallel()
	odd := func(r *peer.ProposalResponse, a *away) error { // another payload, properly signed
		own, err := a.Registry.Endorser("Org2MSP")
		if err != nil {
			return err
		}
		var payload peer.ProposalResponsePayload
		var action peer.ChaincodeAction
		if err := errors.Join(proto.Unmarshal(r.Payload, &payload), proto.Unmarshal(payload.Extension, &action)); err != nil {
			return err
		}
		action.Response.Payload = []byte("odd")
		var errs [2]error
		payload.Extension, errs[0] = proto.Marshal(&action)
		r.Payload, errs[1] = proto.Marshal(&payload)
		signature, err := own.Signer.Sign(slices.Concat(r.Payload, own.Serialized))
		r.Endorsement.Signature = signature
		return errors.Join(errs[0], errs[1], err)
	}
	for name, test := range map[string]struct {
		ran   func(uint64) uint64
		asked int64
	}{"the same state": {nil, 1}, "another state": {func(h uint64) uint64 { return h + 1 }, 4}} {
		s, a := withAway(t, "AND('PeerlessMSP.peer', 'Org2MSP.peer')", map[string]*pricing{"": {price: "1"}})
		a.ran = test.ran
		a.spoil = func(r *peer.ProposalResponse) error {
			if a.asked.Load() == 4 { // at last it agrees
				return nil
			}
			return odd(r, a)
		}
		err := s.sell(t, "price")
		if n := a.asked.Load(); n != test.asked || (err == nil) != (test.asked == 4) {
			t.Errorf("%s: asked %d times, %v; want %d", name, n, err, test.asked)
		}
	}
}
