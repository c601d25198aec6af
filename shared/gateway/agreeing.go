package gateway

import (
	"context"
	"errors"
	"slices"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer/lifecycle"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"peerless/shared/collection"
	"peerless/shared/ledger"
	"peerless/shared/msp"
	"peerless/shared/organization"
)

// agreeing is an agreement on its way.
type agreeing struct {
	*Service
	wanted      Agreement
	channel     *ledger.Channel
	creator     *msp.Signer
	application *peer.ApplicationPolicy
	approvers   []*organization.Endorser
	packages    map[string]string // of their approvals, by MSP id
	result      Definition        // as it stands
	last        bool              // the step is the last
}

// plainIndexes writes index definitions as the ledger keeps them.
func plainIndexes(definitions []string) []string {
	if len(definitions) == 0 {
		return nil
	}
	encoded, err := ledger.FormatIndexes(definitions)
	if err != nil {
		return definitions // CheckIndexes says what is wrong
	}
	plain, err := ledger.DecodeIndexes(encoded)
	if err != nil {
		return definitions
	}
	return plain
}

// step makes the next transaction of an agreement, nil if there is none to make.
func (g *agreeing) step(ctx context.Context, view ledger.View) (*ledger.Submission, error) {
	g.last = false
	d, current, err := g.next(ctx, view)
	if err != nil {
		return nil, err
	}
	g.result = g.wanted.Definition
	g.result.Sequence = d.Sequence
	committed := current != nil && d.Sequence == current.Sequence
	if committed && !g.wanted.ApproveOnly {
		return nil, nil
	}
	if len(g.channel.Config().Organizations) == 1 && len(g.approvers) == 1 && !g.wanted.ApproveOnly {
		return g.atOnce(ctx, view, d, current)
	}
	for _, endorser := range g.approvers {
		pkg := g.packages[endorser.MSPID]
		approved, err := ledger.Approved(ctx, view, endorser.MSPID, d, &pkg)
		if err != nil {
			return nil, storeError("", "chaincode "+d.Name, err)
		}
		if !approved {
			return g.approval(ctx, view, d, endorser)
		}
	}
	if g.wanted.ApproveOnly {
		return nil, nil
	}
	return g.commit(ctx, view, d, current)
}

// next returns the definition with the sequence at which it is, or is to be, defined, and the present one, nil if there is none.
func (g *agreeing) next(ctx context.Context, view ledger.View) (d, current *ledger.Definition, err error) {
	wanted := g.wanted.Definition
	if current, err = ledger.ReadDefinition(ctx, view, wanted.Name); err != nil {
		return nil, nil, storeError("", "chaincode "+wanted.Name, err)
	}
	if g.wanted.ApproveOnly && current != nil {
		wanted.Indexes = current.Indexes // which are not approved
	}
	sequence, err := ledger.ReadSequence(ctx, view, wanted.Name)
	if err != nil {
		return nil, nil, storeError("", "chaincode "+wanted.Name, err)
	}
	d = &ledger.Definition{Name: wanted.Name, Version: wanted.Version, Sequence: sequence + 1, InitRequired: wanted.InitRequired, Policy: g.application,
		Collections: wanted.Collections, Indexes: wanted.Indexes}
	if current != nil && same(current, wanted, g.application) && (wanted.Sequence == 0 || wanted.Sequence == current.Sequence) {
		d.Sequence = current.Sequence
		return d, current, nil
	}
	if wanted.Sequence != 0 && wanted.Sequence != d.Sequence {
		return nil, nil, invalidArgument("", "the next sequence of chaincode %s is %d, not %d", d.Name, d.Sequence, wanted.Sequence)
	}
	if err := collection.Check(d.Collections, current.GetCollections(), g.channel.Config()); err != nil {
		return nil, nil, invalidArgument("", "chaincode %s: %v", d.Name, err)
	}
	if err := ledger.CheckIndexes(d.Indexes); err != nil {
		return nil, nil, invalidArgument("", "chaincode %s: %v", d.Name, err)
	}
	return d, current, nil
}

// approval is a transaction by which an organisation agrees to a definition.
func (g *agreeing) approval(ctx context.Context, view ledger.View, d *ledger.Definition, endorser *organization.Endorser) (*ledger.Submission, error) {
	policy, err := proto.Marshal(d.Policy)
	if err != nil {
		return nil, invalidArgument("", "%v", err)
	}
	pkg := g.packages[endorser.MSPID]
	args := &lifecycle.ApproveChaincodeDefinitionForMyOrgArgs{Name: d.Name, Version: d.Version, Sequence: d.Sequence, InitRequired: d.InitRequired,
		ValidationParameter: policy, Collections: d.Collections, Source: sourceOf(pkg)}
	encoded, err := proto.Marshal(args)
	if err != nil {
		return nil, invalidArgument("", "%v", err)
	}
	return g.lifecycleTransaction(view, g.channel, g.creator, []*organization.Endorser{endorser}, [][]byte{[]byte(approveFunction), encoded},
		func(c *lifecycleCall) error { return c.approve(ctx, d, pkg) })
}

// commit is the transaction that makes an approved definition the channel's, endorsed by those who approved it: by those whose keys
// are here if they are enough, else by all.
func (g *agreeing) commit(ctx context.Context, view ledger.View, d, current *ledger.Definition) (*ledger.Submission, error) {
	pending := &PendingError{Definition: g.result}
	var own, all []*organization.Endorser
	for _, o := range g.channel.Config().Organizations {
		approved, err := ledger.Approved(ctx, view, o.MSPID, d, nil)
		if err != nil {
			return nil, storeError("", "chaincode "+d.Name, err)
		}
		if !approved {
			pending.Awaited = append(pending.Awaited, o.MSPID)
			continue
		}
		pending.Approved = append(pending.Approved, o.MSPID)
		endorser, err := g.Organizations.Endorser(o.MSPID)
		switch {
		case errors.Is(err, organization.ErrNotFound):
			continue
		case err != nil:
			return nil, &Error{Kind: Internal, Code: codes.Internal, Message: err.Error(), Cause: err}
		case endorser.Local():
			own = append(own, endorser)
		}
		all = append(all, endorser)
	}
	for _, endorsers := range [][]*organization.Endorser{own, all} {
		if len(endorsers) == 0 {
			continue
		}
		commit := g.committed
		if len(endorsers) > len(own) {
			commit = g.committedElsewhere
		}
		submission, err := commit(ctx, view, d, current, endorsers)
		if err != nil {
			return nil, err
		}
		enough, err := g.channel.Endorsed(ctx, view, ledger.LifecycleNamespace, submission.Tx.RWSet, identities(g.channel, endorsers))
		if err != nil {
			return nil, storeError("endorse", "channel "+g.channel.Name(), err)
		}
		if enough {
			return submission, nil
		}
		if len(all) == len(own) {
			break
		}
	}
	return nil, pending
}

// committed is commit by endorsers whose keys are here.
func (g *agreeing) committed(ctx context.Context, view ledger.View, d, current *ledger.Definition, endorsers []*organization.Endorser) (*ledger.Submission, error) {
	return g.committing(ctx, view, d, current, endorsers, func(c *lifecycleCall) error {
		if _, err := c.check(ctx, d); err != nil {
			return err
		}
		_, _, err := c.readiness(ctx, d)
		return err
	})
}

// committedElsewhere is commit where some of the endorsers are to be asked.
func (g *agreeing) committedElsewhere(ctx context.Context, view ledger.View, d, current *ledger.Definition, endorsers []*organization.Endorser) (*ledger.Submission, error) {
	args, indexes, err := commitArguments(d, current)
	if err != nil {
		return nil, err
	}
	proposal, err := g.lifecycleProposal(g.channel, g.creator, append([][]byte{[]byte(commitFunction), args}, indexes...))
	if err != nil {
		return nil, err
	}
	endorsed, err := (&endorsing{Service: g.Service, channel: g.channel, view: view, proposal: proposal, named: true}).collect(ctx, endorsers)
	if err != nil {
		return nil, err
	}
	g.last = true
	return (&call{Service: g.Service, request: Request{User: g.creator}, channel: g.channel, proposal: proposal}).sign(endorsed)
}

// atOnce is the transaction by which a channel's only organisation approves a definition and commits it.
func (g *agreeing) atOnce(ctx context.Context, view ledger.View, d, current *ledger.Definition) (*ledger.Submission, error) {
	return g.committing(ctx, view, d, current, g.approvers, func(c *lifecycleCall) error {
		pkg := g.packages[c.mspID]
		approved, err := ledger.Approved(ctx, view, c.mspID, d, &pkg)
		if err != nil || approved {
			return err
		}
		return c.approve(ctx, d, pkg)
	})
}

// committing is a transaction that commits a definition after what is done before.
func (g *agreeing) committing(ctx context.Context, view ledger.View, d, current *ledger.Definition, endorsers []*organization.Endorser, before func(*lifecycleCall) error) (*ledger.Submission, error) {
	args, indexes, err := commitArguments(d, current)
	if err != nil {
		return nil, err
	}
	g.last = true
	plain := *d
	plain.Indexes = nil // they come as an argument of their own
	return g.lifecycleTransaction(view, g.channel, g.creator, endorsers, append([][]byte{[]byte(commitFunction), args}, indexes...), func(c *lifecycleCall) error {
		if err := before(c); err != nil {
			return err
		}
		return c.define(ctx, &plain, indexes)
	})
}

// commitArguments are those of a commit of d in place of the present definition: the message, and the indexes if they change.
func commitArguments(d, current *ledger.Definition) (args []byte, indexes [][]byte, err error) {
	policy, err := proto.Marshal(d.Policy)
	if err != nil {
		return nil, nil, invalidArgument("", "%v", err)
	}
	if args, err = proto.Marshal(&lifecycle.CommitChaincodeDefinitionArgs{Name: d.Name, Version: d.Version, Sequence: d.Sequence, InitRequired: d.InitRequired,
		ValidationParameter: policy, Collections: d.Collections}); err != nil {
		return nil, nil, invalidArgument("", "%v", err)
	}
	if current == nil && len(d.Indexes) > 0 || current != nil && !slices.Equal(current.Indexes, d.Indexes) {
		encoded, err := ledger.FormatIndexes(d.Indexes)
		if err != nil {
			return nil, nil, invalidArgument("", "chaincode %s: %v", d.Name, err)
		}
		indexes = append(indexes, encoded)
	}
	return args, indexes, nil
}
