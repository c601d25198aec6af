package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"peerless/shared/collection"
	"peerless/shared/deploy"
	"peerless/shared/gateway"
	"peerless/shared/manifest"
)

// An artifact is what a chaincode is to run: a package, or a service.
type artifact struct {
	pkg     []byte
	id      string // of the package; empty for a service
	service deploy.Connection
	hash    string   // of either, in hex
	indexes []string // of the package
}

// versionDigits is how much of an artifact's hash is the version of a chaincode that is given none.
const versionDigits = 12

// target is what a chaincode is bound to.
func (a *artifact) target() deploy.Target {
	if a.id == "" {
		return deploy.Target{Service: &a.service}
	}
	return deploy.Target{Package: a.id}
}

// loadAll loads what each organisation is to run, by MSP id, and under "" what the others are.
func (n *Node) loadAll(ctx context.Context, c *manifest.Chaincode) (map[string]*artifact, error) {
	sources := map[string]manifest.Source{"": c.Default()}
	for mspID, source := range c.Sources {
		if endorser, err := n.Organizations.Endorser(mspID); err == nil && !endorser.Local() {
			return nil, invalid(fmt.Errorf("sources: the endorser of %s runs elsewhere, and its chaincodes with it: leave it out here", mspID))
		}
		sources[mspID] = source
	}
	all := make(map[string]*artifact, len(sources))
	for mspID, source := range sources {
		a, err := load(ctx, c.Name, source, n.DeployConfig.Build)
		if err != nil {
			return nil, err
		}
		all[mspID] = a
	}
	return all, nil
}

// version is that of a chaincode which is given none: the beginning of a hash of all that it runs.
func version(all map[string]*artifact) string {
	if len(all) == 1 {
		return all[""].hash[:versionDigits]
	}
	h := sha256.New()
	for _, mspID := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(h, "%s %s\n", mspID, all[mspID].hash)
	}
	return hex.EncodeToString(h.Sum(nil))[:versionDigits]
}

// load reads, or builds, a source.
func load(ctx context.Context, name string, source manifest.Source, build deploy.BuildConfig) (*artifact, error) {
	if source.Address != "" {
		connection, err := source.Connection()
		if err != nil {
			return nil, invalid(err)
		}
		described, err := json.Marshal(connection)
		if err != nil {
			return nil, err
		}
		hash := sha256.Sum256(described)
		return &artifact{service: connection, hash: hex.EncodeToString(hash[:])}, nil
	}
	info, err := os.Stat(source.Path)
	if err != nil {
		return nil, invalid(fmt.Errorf("source: %w", err))
	}
	if !info.IsDir() {
		raw, err := os.ReadFile(source.Path)
		if err != nil {
			return nil, invalid(fmt.Errorf("source: %w", err))
		}
		pkg, err := deploy.ParsePackage(raw)
		if err != nil {
			return nil, installError(fmt.Errorf("source %s: %w", source.Path, err))
		}
		return &artifact{pkg: raw, id: pkg.ID, hash: pkg.ID[strings.LastIndexByte(pkg.ID, ':')+1:], indexes: pkg.Indexes}, nil
	}
	contract, err := deploy.Detect(source.Path)
	if err != nil {
		return nil, invalid(err)
	}
	prepared, err := contract.Prepare(ctx, build)
	if err != nil {
		return nil, installError(err)
	}
	raw, err := prepared.Pack(name)
	if err != nil {
		return nil, installError(err)
	}
	pkg, err := deploy.ParsePackage(raw)
	if err != nil {
		return nil, err
	}
	return &artifact{pkg: raw, id: pkg.ID, hash: prepared.Hash, indexes: pkg.Indexes}, nil
}

// applyChaincode makes a chaincode run what the manifest says under the definition it says. Another source is a new definition,
// also under the same version: what was endorsed by the old program does not mix with the new one's.
func (n *Node) applyChaincode(ctx context.Context, channel string, c *manifest.Chaincode) (Change, error) {
	change := Change{Kind: "chaincode", Name: c.Name, Channel: channel, Action: Unchanged}
	wanted := gateway.Definition{Name: c.Name, Version: c.Version, Policy: c.Policy, InitRequired: c.InitRequired}
	collections, err := c.CollectionsFile()
	if err != nil {
		return change, invalid(fmt.Errorf("collections: %w", err))
	}
	if collections != nil {
		if wanted.Collections, err = collection.Parse(collections); err != nil {
			return change, invalid(fmt.Errorf("%s: %w", c.Collections, err))
		}
	}
	all, err := n.loadAll(ctx, c)
	if err != nil {
		return change, err
	}
	wanted.Indexes = all[""].indexes
	if wanted.Version == "" {
		wanted.Version = version(all)
	}
	targets := make(map[string]deploy.Target, len(all))
	for mspID, a := range all {
		targets[mspID] = a.target()
	}
	creator, err := n.Operator(ctx, channel)
	if err != nil {
		return change, err
	}
	current, err := n.Gateway.Definition(ctx, channel, c.Name)
	var missing *gateway.Error
	switch {
	case errors.As(err, &missing) && missing.Kind == gateway.NotFound:
		change.Action = Created
	case err != nil:
		return change, err
	}
	bound := n.Chaincodes.Targets(channel, c.Name)
	switch {
	case len(bound) == 0:
	case maps.EqualFunc(bound, targets, deploy.Target.Equal):
		if change.Action == Unchanged {
			same, err := n.Gateway.Defined(ctx, channel, wanted)
			if err != nil || same {
				return change, err
			}
		}
	case change.Action == Unchanged:
		wanted.Sequence = current.Sequence + 1
	}
	for _, a := range all {
		if a.id == "" {
			continue
		}
		if _, err := n.Chaincodes.Install(ctx, a.pkg); err != nil {
			return change, installError(err)
		}
	}
	defined, err := n.bind(ctx, creator, channel, wanted, func() error { return n.Chaincodes.BindEach(ctx, channel, c.Name, targets) })
	if err != nil {
		return change, err
	}
	if change.Action == Unchanged {
		change.Action = Updated
	}
	change.Detail = fmt.Sprintf("version %s, sequence %d", defined.Version, defined.Sequence)
	return change, nil
}
