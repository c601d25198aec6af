package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"peerless/shared/ledger"
	"peerless/shared/manifest"
	"peerless/shared/organization"
)

var _ manifest.Target = (*Node)(nil)

// Apply applies a manifest: see manifest.Manifest.Apply.
func (n *Node) Apply(ctx context.Context, m *manifest.Manifest, told func(manifest.Change)) error {
	return m.Apply(ctx, n, n.DeployConfig.Build, told)
}

// Known implements manifest.Target.
func (n *Node) Known(_ context.Context, mspID string) (bool, error) {
	return n.Organizations.Has(mspID)
}

// PutOrganization implements manifest.Target.
func (n *Node) PutOrganization(_ context.Context, mspID string, member organization.Member) (manifest.Change, error) {
	change := manifest.Change{Kind: "organization", Name: mspID, Action: manifest.Unchanged}
	if mspID == organization.OrdererMSP {
		return n.putOrderer(change, member)
	}
	known, err := n.Organizations.Has(mspID)
	if err != nil {
		return change, err
	}
	if member.Config == nil && member.Endorser == nil && member.Remote == nil {
		if !known {
			change.Action = manifest.Created
		}
		_, err := n.Organizations.Organization(mspID)
		return change, organizationError(err)
	}
	if known {
		present, err := n.Organizations.Organization(mspID)
		if err != nil {
			return change, err
		}
		if member.Config == nil {
			member.Config = present.MSPConfig()
		}
		if proto.Equal(present.MSPConfig(), member.Config) && sameEndorser(present, member.Endorser, member.Remote) {
			return change, nil
		}
		change.Action = manifest.Updated
	} else {
		change.Action = manifest.Created
		if member.Config == nil {
			return change, invalid(errors.New("an endorser is brought along with an msp: without one Peerless makes both"))
		}
	}
	added, err := n.Organizations.Add(mspID, member)
	if errors.Is(err, organization.ErrExists) {
		return change, invalid(fmt.Errorf("it exists with another MSP configuration, which channels hold and apply does not change: %w", err))
	}
	if err != nil {
		return change, organizationError(err)
	}
	if added.Endorser() == nil {
		change.Detail = "nobody here signs its endorsements: give it an endorser if contracts need them"
	}
	return change, nil
}

// putOrderer takes the members of a network's ordering organisation for the platform's. The platform signs blocks itself.
func (n *Node) putOrderer(change manifest.Change, member organization.Member) (manifest.Change, error) {
	if member.Config == nil {
		return change, nil
	}
	if member.Endorser != nil || member.Remote != nil {
		return change, invalid(errors.New("it has no endorser: blocks are signed with a key that the platform keeps"))
	}
	changed, err := n.Organizations.ExtendOrderer(member.Config)
	if changed {
		change.Action = manifest.Updated
		change.Detail = "holds in channels that are made from now on"
	}
	return change, organizationError(err)
}

// organizationError tells mistakes in what was given from failures.
func organizationError(err error) error {
	if err == nil || errors.Is(err, organization.ErrDamaged) {
		return err
	}
	return invalid(err)
}

// sameEndorser reports whether an organisation has this endorser, here or elsewhere; any, if none is given.
func sameEndorser(present *organization.Organization, here *organization.KeyPair, elsewhere *organization.RemoteEndorser) bool {
	is := present.Endorser()
	switch {
	case elsewhere != nil:
		return is != nil && !is.Local() && is.Certified(elsewhere.Certificate) && is.Connection.Equal(elsewhere.Connection)
	case here != nil:
		return is != nil && is.Local() && is.Certified(here.Certificate)
	}
	return true
}

// PutChannel implements manifest.Target.
func (n *Node) PutChannel(ctx context.Context, name string, organizations []string) (manifest.Change, error) {
	change := manifest.Change{Kind: "channel", Name: name, Action: manifest.Unchanged}
	channel, err := n.Ledger.Channel(ctx, name)
	if errors.Is(err, ledger.ErrNotFound) {
		change.Action = manifest.Created
		return change, n.CreateChannel(ctx, name, organizations)
	}
	if err != nil {
		return change, err
	}
	var members []string
	for _, o := range channel.Config().Organizations {
		members = append(members, o.MSPID)
		present, err := n.Organizations.Organization(o.MSPID)
		if err != nil {
			return change, err
		}
		if !bytes.Equal(present.MSPConfig().GetConfig(), o.MSP.GetConfig()) {
			change.Detail = "its configuration has another MSP of " + o.MSPID + " than the platform"
		}
	}
	wanted := slices.Sorted(slices.Values(organizations))
	if !slices.Equal(members, wanted) {
		return change, invalid(fmt.Errorf("it has the organisations %s, and apply does not change a channel's members: "+
			"name those, or make another channel", strings.Join(members, ", ")))
	}
	return change, nil
}
