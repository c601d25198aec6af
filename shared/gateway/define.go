package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc/codes"

	"peerless/shared/ledger"
	"peerless/shared/msp"
	"peerless/shared/organization"
	"peerless/shared/simulate"
	"peerless/shared/wire"
)

// An Agreement is a definition that is to become a channel's, by the approvals of its organisations.
type Agreement struct {
	Definition
	// Organizations for which the platform approves, by MSP id, all of whose endorsers it must hold. Empty: all whose it holds.
	Organizations []string
	// ApproveOnly leaves it to others to commit.
	ApproveOnly bool
}

// A PendingError is what Define returns where more organisations have to approve than the platform can approve for. What it
// approved is recorded; what was defined before is as it was.
type PendingError struct {
	Definition Definition // that awaits approvals, with its sequence
	Approved   []string   // organisations of the channel that approved it, by MSP id
	Awaited    []string   // the others
}

func (e *PendingError) Error() string {
	what := fmt.Sprintf("chaincode %s, version %s, sequence %d, is approved by %s", e.Definition.Name, e.Definition.Version, e.Definition.Sequence, strings.Join(e.Approved, ", "))
	switch {
	case len(e.Approved) == 0:
		what = fmt.Sprintf("chaincode %s, version %s, sequence %d, is approved by nobody", e.Definition.Name, e.Definition.Version, e.Definition.Sequence)
	case len(e.Awaited) == 0:
		return what + ": too few of them endorse here, so one of their administrators commits it"
	}
	return what + " and awaits " + strings.Join(e.Awaited, ", ") + ": their administrators approve the same definition, then deploy again, or have one of them commit it"
}

// Define is Agree for all organisations whose endorsers the platform holds.
func (s *Service) Define(ctx context.Context, channel string, creator *msp.Signer, d Definition) (Definition, error) {
	return s.Agree(ctx, channel, creator, Agreement{Definition: d})
}

// Agree makes a definition a channel's, in transactions of the lifecycle namespace that creator signs: one for each organisation
// that the platform approves for and that did not approve this definition, and one that commits it, endorsed by those who
// approved. On a channel of one organisation one transaction does both. A zero sequence is the next one. Approvals name the
// package that is bound.
//
// The definition is returned as it now stands; defining what is defined already changes nothing. Where approvals are missing that
// are not the platform's to make the error is a PendingError. Whatever interrupted it before, it goes on from there.
func (s *Service) Agree(ctx context.Context, channelName string, creator *msp.Signer, a Agreement) (Definition, error) {
	a.Indexes = plainIndexes(a.Indexes)
	d := a.Definition
	if err := errors.Join(wire.ChaincodeName.Check(d.Name), wire.ChaincodeVersion.Check(d.Version), checkNames(d.Name, d.Version)); err != nil {
		return d, invalidArgument("", "%v", err)
	}
	application, err := ApplicationPolicy(d.Policy)
	if err != nil {
		return d, invalidArgument("", "policy of chaincode %s: %v", d.Name, err)
	}
	channel, err := s.administered(ctx, channelName, creator)
	if err != nil {
		return d, err
	}
	if err := checkReference(application, channel); err != nil {
		return d, invalidArgument("", "policy of chaincode %s: %v", d.Name, err)
	}
	g := &agreeing{Service: s, wanted: a, channel: channel, creator: creator, application: application, packages: make(map[string]string)}
	if g.approvers, err = s.approvers(channel, a.Organizations); err != nil {
		return d, err
	}
	for _, endorser := range g.approvers {
		if g.packages[endorser.MSPID], err = s.packageID(ctx, channelName, d.Name, endorser.MSPID); err != nil {
			return d, storeError("", "package of chaincode "+d.Name, err)
		}
	}
	// Each step writes one transaction. Who defines something else at the same time may undo them.
	for range 3 * (len(channel.Config().Organizations) + 1) {
		more, err := s.changeLifecycle(ctx, channel, d.Name, g.step)
		if err != nil || !more || g.last {
			return g.result, err
		}
	}
	return d, &Error{Kind: MVCCReadConflict, Code: codes.Aborted, Message: fmt.Sprintf("chaincode %s is being defined in another way at the same time: try again", d.Name)}
}

// administered returns a channel on which an identity may define chaincodes. As at an orderer, an administrator of the ordering
// organisation may record what members endorse: their endorsements make it theirs.
func (s *Service) administered(ctx context.Context, name string, creator *msp.Signer) (*ledger.Channel, error) {
	channel, err := s.Channel(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := allowed(channel, pathChannelWriters, creator.Serialized); err != nil {
		return nil, &Error{Kind: Forbidden, Code: codes.PermissionDenied, Message: err.Error(), Cause: err}
	}
	return channel, nil
}

// approvers returns the endorsers by which the platform approves: those of the organisations named, or all that it holds.
func (s *Service) approvers(channel *ledger.Channel, named []string) ([]*organization.Endorser, error) {
	var endorsers []*organization.Endorser
	for _, o := range channel.Config().Organizations {
		if len(named) > 0 && !slices.Contains(named, o.MSPID) {
			continue
		}
		own, err := s.ownEndorser(o.MSPID)
		if err != nil {
			return nil, err
		}
		if own != nil {
			endorsers = append(endorsers, own)
		}
	}
	for _, id := range named {
		if !slices.ContainsFunc(endorsers, func(e *organization.Endorser) bool { return e.MSPID == id }) {
			return nil, invalidArgument("", "%s is not an organisation of channel %s whose endorser the platform holds: it approves through its own client", id, channel.Name())
		}
	}
	return endorsers, nil
}

// ownEndorser returns an organisation's endorser if the platform has its key, else nil.
func (s *Service) ownEndorser(mspID string) (*organization.Endorser, error) {
	endorser, err := s.Organizations.Endorser(mspID)
	switch {
	case errors.Is(err, organization.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, &Error{Kind: Internal, Code: codes.Internal, Message: err.Error(), Cause: err}
	case !endorser.Local():
		return nil, nil
	}
	return endorser, nil
}

// changeLifecycle commits one transaction of the lifecycle namespace, which step makes over the present state, again if another
// change came first. It is false if step has nothing to do.
func (s *Service) changeLifecycle(ctx context.Context, channel *ledger.Channel, name string, step func(context.Context, ledger.View) (*ledger.Submission, error)) (bool, error) {
	for attempt := 1; ; attempt++ {
		submission, err := s.overView(ctx, channel, step)
		if submission == nil || err != nil {
			return false, err
		}
		verdict, err := channel.Submit(ctx, submission)
		if err != nil {
			e := storeError("submit", "definition of chaincode "+name, err)
			e.TransactionID = submission.Tx.TxID
			return false, e
		}
		switch {
		case verdict.Code == peer.TxValidationCode_VALID:
			return true, nil
		case verdict.Code != peer.TxValidationCode_MVCC_READ_CONFLICT || attempt == s.Attempts:
			return false, invalid(submission.Tx.TxID, verdict.Code, attempt)
		}
	}
}

func (s *Service) overView(ctx context.Context, channel *ledger.Channel, step func(context.Context, ledger.View) (*ledger.Submission, error)) (*ledger.Submission, error) {
	view, err := channel.View(ctx)
	if err != nil {
		return nil, storeError("", "channel "+channel.Name(), err)
	}
	defer view.Close()
	return step(ctx, view)
}

// lifecycleTransaction is a transaction of the lifecycle namespace that creator signs, and that is endorsed by the endorsers, all
// of which come to what do does.
func (s *Service) lifecycleTransaction(view ledger.View, channel *ledger.Channel, creator *msp.Signer, endorsers []*organization.Endorser, args [][]byte, do func(*lifecycleCall) error) (*ledger.Submission, error) {
	proposal, err := s.lifecycleProposal(channel, creator, args)
	if err != nil {
		return nil, err
	}
	c := &lifecycleCall{Service: s, channel: channel, proposal: proposal, mspID: endorsers[0].MSPID, tx: simulate.New(view, proposal.TxID)}
	if err := do(c); err != nil && c.tx.Err() == nil {
		return nil, invalidArgument("", "%v", err)
	}
	sim, failure := c.simulation(&peer.Response{Status: 200})
	if failure != nil {
		return nil, failure.error("endorse", failure.code, failure.message, proposal.TxID, nil)
	}
	return (&call{Service: s, request: Request{User: creator}, channel: channel, proposal: proposal, endorsers: endorsers}).submission(sim, endorsers)
}

func (s *Service) lifecycleProposal(channel *ledger.Channel, creator *msp.Signer, args [][]byte) (*wire.Proposal, error) {
	proposal, err := wire.NewProposal(wire.ProposalSpec{
		Channel: channel.Name(), Chaincode: ledger.LifecycleNamespace, Args: args, Creator: creator.Serialized, Nonce: randomNonce(), Timestamp: s.Clock(),
	})
	if err != nil {
		return nil, invalidArgument("", "%v", err)
	}
	proposal.SignLater(creator.Sign)
	return proposal, nil
}

// identities are those of endorsers, as far as the channel knows them.
func identities(channel *ledger.Channel, endorsers []*organization.Endorser) []*msp.Identity {
	var ids []*msp.Identity
	for _, e := range endorsers {
		if id, err := channel.Config().MSPs.Identify(e.Serialized); err == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// Undefine removes a chaincode's definition: a transaction, which Fabric does not have, that every organisation endorses whose
// endorser is here. Its state stays, and so does the count of its definitions, so that no approval counts for another one.
func (s *Service) Undefine(ctx context.Context, channelName string, creator *msp.Signer, name string) error {
	channel, err := s.administered(ctx, channelName, creator)
	if err != nil {
		return err
	}
	endorsers, err := s.approvers(channel, nil)
	if err != nil {
		return err
	}
	if len(endorsers) == 0 {
		return &Error{Kind: EndorsementPolicyFailure, Code: codes.FailedPrecondition, Message: "no organisation of channel " + channelName + " endorses here"}
	}
	_, err = s.changeLifecycle(ctx, channel, name, func(ctx context.Context, view ledger.View) (*ledger.Submission, error) {
		current, err := ledger.ReadDefinition(ctx, view, name)
		if err != nil {
			return nil, storeError("", "chaincode "+name, err)
		}
		if current == nil {
			return nil, undefined(channelName, name)
		}
		args := [][]byte{[]byte("RemoveChaincodeDefinition"), []byte(name)}
		return s.lifecycleTransaction(view, channel, creator, endorsers, args, func(c *lifecycleCall) error {
			sequence, err := c.sequence(ctx, name)
			if err != nil {
				return err
			}
			next, err := ledger.FormatSequence(sequence + 1)
			if err != nil {
				return err
			}
			for _, key := range ledger.DefinitionKeys(name) {
				var value []byte
				if key == ledger.SequenceKey(name) {
					value = next
				}
				if err := c.tx.PutState(ledger.LifecycleNamespace, key, value); err != nil {
					return err
				}
			}
			return nil
		})
	})
	return err
}
