package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"google.golang.org/protobuf/proto"

	"peerless/shared/ledger"
	"peerless/shared/manifest"
	"peerless/shared/organization"
)

// What Apply did.
const (
	Created   = "created"
	Updated   = "updated"
	Unchanged = "unchanged"
)

// A Change says what Apply did about one thing.
type Change struct {
	Kind    string // organization, channel or chaincode
	Name    string
	Channel string // of a chaincode
	Action  string // Created, Updated or Unchanged
	Detail  string // what is worth a word, or empty
}

// Apply makes organisations, channels and chaincodes what a manifest says, in this order, and tells about each as it is done;
// told may be nil. What is so already it leaves alone; what the manifest does not name it does not touch. On an error what is
// before it is done: applying the manifest again goes on from there.
func (n *Node) Apply(ctx context.Context, m *manifest.Manifest, told func(Change)) error {
	if told == nil {
		told = func(Change) {}
	}
	if err := n.checkMembers(m); err != nil {
		return err
	}
	for i := range m.Organizations {
		change, err := n.applyOrganization(&m.Organizations[i])
		if err != nil {
			return fmt.Errorf("organisation %s: %w", m.Organizations[i].MSPID, err)
		}
		told(change)
	}
	for i := range m.Channels {
		channel := &m.Channels[i]
		change, err := n.applyChannel(ctx, channel)
		if err != nil {
			return fmt.Errorf("channel %s: %w", channel.Name, err)
		}
		told(change)
		for k := range channel.Chaincodes {
			change, err := n.applyChaincode(ctx, channel.Name, &channel.Chaincodes[k])
			if err != nil {
				return fmt.Errorf("chaincode %s on channel %s: %w", channel.Chaincodes[k].Name, channel.Name, err)
			}
			told(change)
		}
	}
	return nil
}

// checkMembers refuses a channel of organisations that neither the manifest nor the platform knows: a name spelled wrongly would
// become an organisation.
func (n *Node) checkMembers(m *manifest.Manifest) error {
	declared := make(map[string]bool)
	for _, o := range m.Organizations {
		declared[o.MSPID] = true
	}
	for _, c := range m.Channels {
		for _, id := range c.Organizations {
			known, err := n.Organizations.Has(id)
			if err != nil {
				return err
			}
			if !known && !declared[id] {
				return invalid(fmt.Errorf("line %d: channel %s has organisation %s, which is not among the organizations: declare it there", c.Line, c.Name, id))
			}
		}
	}
	return nil
}

func (n *Node) applyOrganization(o *manifest.Organization) (Change, error) {
	change := Change{Kind: "organization", Name: o.MSPID, Action: Unchanged}
	if o.Endorser != nil && o.Endorser.Address != "" {
		return change, invalid(errors.New("endorsers that run elsewhere are not asked yet: give its cert and key"))
	}
	config, err := o.Config()
	if err != nil {
		return change, invalid(err)
	}
	endorser, err := o.KeyPair()
	if err != nil {
		return change, invalid(err)
	}
	if o.MSPID == organization.OrdererMSP {
		return n.applyOrderer(o, config)
	}
	known, err := n.Organizations.Has(o.MSPID)
	if err != nil {
		return change, err
	}
	if config == nil && endorser == nil {
		if !known {
			change.Action = Created
		}
		_, err := n.Organizations.Organization(o.MSPID)
		return change, organizationError(err)
	}
	member := organization.Member{Config: config, Endorser: endorser}
	if known {
		present, err := n.Organizations.Organization(o.MSPID)
		if err != nil {
			return change, err
		}
		if config == nil {
			member.Config = present.MSPConfig()
		}
		if proto.Equal(present.MSPConfig(), member.Config) && sameEndorser(present, endorser) {
			return change, nil
		}
		change.Action = Updated
	} else {
		change.Action = Created
		if config == nil {
			return change, invalid(errors.New("an endorser is brought along with an msp: without one Peerless makes both"))
		}
	}
	added, err := n.Organizations.Add(o.MSPID, member)
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

// applyOrderer takes the members of a network's ordering organisation for the platform's. The platform signs blocks itself.
func (n *Node) applyOrderer(o *manifest.Organization, config *mspproto.MSPConfig) (Change, error) {
	change := Change{Kind: "organization", Name: o.MSPID, Action: Unchanged}
	if config == nil {
		return change, nil
	}
	if o.Endorser != nil {
		return change, invalid(errors.New("it has no endorser: blocks are signed with a key that the platform keeps"))
	}
	changed, err := n.Organizations.ExtendOrderer(config)
	if changed {
		change.Action = Updated
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

// sameEndorser reports whether an organisation has this endorser; any, if none is given.
func sameEndorser(present *organization.Organization, pair *organization.KeyPair) bool {
	if pair == nil {
		return true
	}
	signer := present.Endorser()
	return signer != nil && signer.Certified(pair.Certificate)
}

func (n *Node) applyChannel(ctx context.Context, c *manifest.Channel) (Change, error) {
	change := Change{Kind: "channel", Name: c.Name, Action: Unchanged}
	channel, err := n.Ledger.Channel(ctx, c.Name)
	if errors.Is(err, ledger.ErrNotFound) {
		change.Action = Created
		return change, n.CreateChannel(ctx, c.Name, c.Organizations)
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
	wanted := slices.Sorted(slices.Values(c.Organizations))
	if !slices.Equal(members, wanted) {
		return change, invalid(fmt.Errorf("it has the organisations %s, and apply does not change a channel's members: "+
			"name those, or make another channel", strings.Join(members, ", ")))
	}
	return change, nil
}
