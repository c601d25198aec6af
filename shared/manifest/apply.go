package manifest

import (
	"context"
	"fmt"

	"peerless/shared/deploy"
	"peerless/shared/organization"
)

// What became of a thing.
const (
	Created   = "created"
	Updated   = "updated"
	Unchanged = "unchanged"
	Pending   = "pending" // a chaincode's definition: others have to approve it
)

// A Change says what Apply did about one thing.
type Change struct {
	Kind    string // organization, channel or chaincode
	Name    string
	Channel string // of a chaincode
	Action  string // Created, Updated, Unchanged or Pending
	Detail  string // what is worth a word, or empty
}

// A Target is the platform that a manifest is applied to: one in this process, or a server. Each Put makes one thing what is said, and
// changes nothing if it is so already.
type Target interface {
	// Known reports whether there is an organisation of an MSP id.
	Known(ctx context.Context, mspID string) (bool, error)
	// PutOrganization brings what is given of an organisation; the platform makes the rest.
	PutOrganization(ctx context.Context, mspID string, brought organization.Member) (Change, error)
	PutChannel(ctx context.Context, name string, organizations []string) (Change, error)
	// PutChaincode runs and defines a chaincode. Another artifact is a new definition, also under the same version: what was
	// endorsed by the old program does not mix with the new one's.
	PutChaincode(ctx context.Context, channel string, d *Deployment) (Change, error)
}

// Apply makes organisations, channels and chaincodes what the manifest says, in this order, and tells about each as it is done; told
// may be nil. It reads the files that the manifest names, and builds source here. What is so already it leaves alone; what the manifest
// does not name it does not touch. On an error what is before it is done: applying the manifest again goes on from there.
func (m *Manifest) Apply(ctx context.Context, to Target, build deploy.BuildConfig, told func(Change)) error {
	if told == nil {
		told = func(Change) {}
	}
	if err := m.checkMembers(ctx, to); err != nil {
		return err
	}
	for i := range m.Organizations {
		o := &m.Organizations[i]
		brought, err := o.Member()
		if err != nil {
			return fmt.Errorf("organisation %s: %w", o.MSPID, err)
		}
		change, err := to.PutOrganization(ctx, o.MSPID, brought)
		if err != nil {
			return fmt.Errorf("organisation %s: %w", o.MSPID, err)
		}
		told(change)
	}
	for i := range m.Channels {
		channel := &m.Channels[i]
		change, err := to.PutChannel(ctx, channel.Name, channel.Organizations)
		if err != nil {
			return fmt.Errorf("channel %s: %w", channel.Name, err)
		}
		told(change)
		for k := range channel.Chaincodes {
			c := &channel.Chaincodes[k]
			d, err := c.Deployment(ctx, build)
			if err == nil {
				change, err = to.PutChaincode(ctx, channel.Name, d)
			}
			if err != nil {
				return fmt.Errorf("chaincode %s on channel %s: %w", c.Name, channel.Name, err)
			}
			told(change)
		}
	}
	return nil
}

// checkMembers refuses a channel of organisations that neither the manifest nor the platform knows: a name spelled wrongly would
// become an organisation.
func (m *Manifest) checkMembers(ctx context.Context, to Target) error {
	declared := make(map[string]bool)
	for _, o := range m.Organizations {
		declared[o.MSPID] = true
	}
	for _, c := range m.Channels {
		for _, id := range c.Organizations {
			if declared[id] {
				continue
			}
			known, err := to.Known(ctx, id)
			if err != nil {
				return err
			}
			if !known {
				return fmt.Errorf("line %d: channel %s has organisation %s, which is not among the organizations: declare it there", c.Line, c.Name, id)
			}
		}
	}
	return nil
}
