package node

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"peerless/shared/collection"
	"peerless/shared/deploy"
	"peerless/shared/gateway"
	"peerless/shared/manifest"
)

// PutChaincode implements manifest.Target.
func (n *Node) PutChaincode(ctx context.Context, channel string, d *manifest.Deployment) (manifest.Change, error) {
	change := manifest.Change{Kind: "chaincode", Name: d.Name, Channel: channel, Action: manifest.Unchanged}
	wanted := gateway.Definition{Name: d.Name, Version: d.Version, Policy: d.Policy, InitRequired: d.InitRequired}
	var err error
	if wanted.Collections, err = collection.Parse([]byte(d.Collections)); err != nil {
		return change, invalid(fmt.Errorf("collections: %w", err))
	}
	targets := make(map[string]deploy.Target, len(d.Artifacts))
	for mspID, a := range d.Artifacts {
		if endorser, err := n.Organizations.Endorser(mspID); mspID != "" && err == nil && !endorser.Local() {
			return change, invalid(fmt.Errorf("sources: the endorser of %s runs elsewhere, and its chaincodes with it: leave it out here", mspID))
		}
		pkg, err := n.packageOf(a)
		if err != nil {
			return change, err
		}
		if pkg != nil && mspID == "" {
			wanted.Indexes = pkg.Indexes
		}
		targets[mspID] = a.Target()
	}
	creator, err := n.Operator(ctx, channel)
	if err != nil {
		return change, err
	}
	current, err := n.Gateway.Definition(ctx, channel, d.Name)
	var missing *gateway.Error
	switch {
	case errors.As(err, &missing) && missing.Kind == gateway.NotFound:
		change.Action = manifest.Created
	case err != nil:
		return change, err
	}
	bound := n.Chaincodes.Targets(channel, d.Name)
	switch {
	case len(bound) == 0:
	case maps.EqualFunc(bound, targets, deploy.Target.Equal):
		if change.Action == manifest.Unchanged {
			same, err := n.Gateway.Defined(ctx, channel, wanted)
			if err != nil || same {
				return change, err
			}
		}
	case change.Action == manifest.Unchanged:
		wanted.Sequence = current.Sequence + 1
	}
	for _, a := range d.Artifacts {
		if a.Package == nil {
			continue
		}
		if _, err := n.Chaincodes.Install(ctx, a.Package); err != nil {
			return change, installError(err)
		}
	}
	defined, err := n.bind(ctx, creator, channel, gateway.Agreement{Definition: wanted}, func() error { return n.Chaincodes.BindEach(ctx, channel, d.Name, targets) })
	if pending := (*gateway.PendingError)(nil); errors.As(err, &pending) {
		change.Action, change.Detail = manifest.Pending, pending.Error()
		return change, nil
	}
	if err != nil {
		return change, err
	}
	if change.Action == manifest.Unchanged {
		change.Action = manifest.Updated
	}
	change.Detail = fmt.Sprintf("version %s, sequence %d", defined.Version, defined.Sequence)
	return change, nil
}

// packageOf returns an artifact's package, which may be installed already; nil if it is a service.
func (n *Node) packageOf(a *manifest.Artifact) (*deploy.Package, error) {
	if a.PackageID == "" {
		return nil, nil
	}
	raw := a.Package
	if raw == nil {
		var err error
		raw, err = n.Chaincodes.Package(a.PackageID)
		if errors.Is(err, deploy.ErrNotFound) {
			return nil, invalid(fmt.Errorf("package %q is not installed: send it first", a.PackageID))
		}
		if err != nil {
			return nil, err
		}
	}
	pkg, err := deploy.ParsePackage(raw)
	if err != nil {
		return nil, installError(err)
	}
	return pkg, nil
}
