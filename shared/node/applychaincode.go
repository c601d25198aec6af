package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"peerless/shared/collection"
	"peerless/shared/deploy"
	"peerless/shared/gateway"
	"peerless/shared/ledger"
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

// load reads, or builds, what a manifest's chaincode is to run.
func load(ctx context.Context, c *manifest.Chaincode, build deploy.BuildConfig) (*artifact, error) {
	if c.Address != "" {
		connection, err := c.Connection()
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
	info, err := os.Stat(c.Source)
	if err != nil {
		return nil, invalid(fmt.Errorf("source: %w", err))
	}
	if !info.IsDir() {
		raw, err := os.ReadFile(c.Source)
		if err != nil {
			return nil, invalid(fmt.Errorf("source: %w", err))
		}
		pkg, err := deploy.ParsePackage(raw)
		if err != nil {
			return nil, installError(fmt.Errorf("source %s: %w", c.Source, err))
		}
		return &artifact{pkg: raw, id: pkg.ID, hash: pkg.ID[strings.LastIndexByte(pkg.ID, ':')+1:], indexes: pkg.Indexes}, nil
	}
	contract, err := deploy.Detect(c.Source)
	if err != nil {
		return nil, invalid(err)
	}
	prepared, err := contract.Prepare(ctx, build)
	if err != nil {
		return nil, installError(err)
	}
	raw, err := prepared.Pack(c.Name)
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
	a, err := load(ctx, c, n.DeployConfig.Build)
	if err != nil {
		return change, err
	}
	wanted.Indexes = a.indexes
	if wanted.Version == "" {
		wanted.Version = a.hash[:versionDigits]
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
	bound, err := n.Chaincodes.Binding(channel, c.Name)
	switch {
	case errors.Is(err, ledger.ErrNotFound):
	case err != nil:
		return change, err
	case a.id != "" && bound.Package == a.id, a.id == "" && n.Chaincodes.Reaches(channel, c.Name, a.service):
		if change.Action == Unchanged {
			same, err := n.Gateway.Defined(ctx, channel, wanted)
			if err != nil || same {
				return change, err
			}
		}
	case change.Action == Unchanged:
		wanted.Sequence = current.Sequence + 1
	}
	bind := func() error { return n.Chaincodes.BindService(ctx, channel, c.Name, a.service) }
	if a.id != "" {
		if _, err := n.Chaincodes.Install(ctx, a.pkg); err != nil {
			return change, installError(err)
		}
		bind = func() error { return n.Chaincodes.Bind(ctx, channel, c.Name, a.id) }
	}
	defined, err := n.bind(ctx, creator, channel, wanted, bind)
	if err != nil {
		return change, err
	}
	if change.Action == Unchanged {
		change.Action = Updated
	}
	change.Detail = fmt.Sprintf("version %s, sequence %d", defined.Version, defined.Sequence)
	return change, nil
}
