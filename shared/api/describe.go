package api

import (
	"context"
	"slices"

	"peerless/shared/collection"
	"peerless/shared/gateway"
)

// Describe returns a chaincode that a channel defines, or that awaits approvals, with who approved what. show says what runs it.
func Describe(ctx context.Context, s *gateway.Service, channel, name string, show func(gateway.Definition) (*Chaincode, error)) (*Chaincode, error) {
	current, next, err := s.Approvals(ctx, channel, name)
	if err != nil {
		return nil, err
	}
	d := gateway.Definition{Name: name}
	if current != nil {
		d = current.Definition
	} else if next == nil {
		_, err := s.Definition(ctx, channel, name)
		return nil, err
	}
	c, err := show(d)
	if err != nil {
		return nil, err
	}
	if current != nil {
		c.Approvals = approvalsOf(current)
	}
	if next != nil {
		d := next.Definition
		c.Next = &Next{Version: d.Version, Sequence: d.Sequence, Policy: d.Policy, InitRequired: d.InitRequired, Approvals: approvalsOf(next)}
		c.Next.Collections, err = collection.Format(d.Collections)
	}
	return c, err
}

// DescribeAll returns all chaincodes that Describe knows of a channel, by name.
func DescribeAll(ctx context.Context, s *gateway.Service, channel string, show func(gateway.Definition) (*Chaincode, error)) ([]Chaincode, error) {
	defined, err := s.Definitions(ctx, channel)
	if err != nil {
		return nil, err
	}
	names, err := s.Awaited(ctx, channel)
	if err != nil {
		return nil, err
	}
	for _, d := range defined {
		names = append(names, d.Name)
	}
	slices.Sort(names)
	all := []Chaincode{}
	for _, name := range slices.Compact(names) {
		c, err := Describe(ctx, s, channel, name, show)
		if err != nil {
			return nil, err
		}
		all = append(all, *c)
	}
	return all, nil
}

func approvalsOf(a *gateway.Approvals) []Approval {
	all := make([]Approval, len(a.By))
	for i, by := range a.By {
		all[i] = Approval{by.MSPID, by.Approved, by.PackageID, by.TransactionID, by.Block}
	}
	return all
}

// Approval is the agreement of organisations to what a spec says, which has no package.
func (s *DeploySpec) Approval(organizations []string) (gateway.Agreement, error) {
	collections, err := collection.Parse([]byte(s.Collections))
	if err != nil {
		return gateway.Agreement{}, invalid("collections", err.Error())
	}
	return gateway.Agreement{Organizations: organizations, ApproveOnly: true, Definition: gateway.Definition{
		Name: s.Name, Version: s.Version, Policy: s.Policy, Sequence: s.Sequence, InitRequired: s.InitRequired, Collections: collections}}, nil
}
