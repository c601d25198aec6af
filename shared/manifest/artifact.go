package manifest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"peerless/shared/collection"
	"peerless/shared/deploy"
)

// A Deployment is a chaincode with what its files say.
type Deployment struct {
	Name, Version string // never empty
	Policy        string // empty: the channel's majority
	Collections   string // of private data, in Fabric's JSON; empty: none
	InitRequired  bool
	Artifacts     map[string]*Artifact // by MSP id; that under "" is for organisations without their own
}

// An Artifact is what a chaincode runs: a package, or a service.
type Artifact struct {
	PackageID string            // label:hash; empty for a service
	Package   []byte            // nil if the platform has it
	Service   deploy.Connection // if there is no package
	hash      string            // of either, in hex
}

// Target is what a chaincode is bound to.
func (a *Artifact) Target() deploy.Target {
	if a.PackageID == "" {
		return deploy.Target{Service: &a.Service}
	}
	return deploy.Target{Package: a.PackageID}
}

// versionDigits is how much of an artifact's hash is the version of a chaincode that is given none.
const versionDigits = 12

// Deployment reads, and builds, what the chaincode is.
func (c *Chaincode) Deployment(ctx context.Context, build deploy.BuildConfig) (*Deployment, error) {
	d := &Deployment{Name: c.Name, Version: c.Version, Policy: c.Policy, InitRequired: c.InitRequired, Artifacts: map[string]*Artifact{}}
	collections, err := c.CollectionsFile()
	if err != nil {
		return nil, fmt.Errorf("collections: %w", err)
	}
	if collections != nil {
		if _, err := collection.Parse(collections); err != nil {
			return nil, fmt.Errorf("%s: %w", c.Collections, err)
		}
		d.Collections = string(collections)
	}
	if d.Artifacts[""], err = c.Default().artifact(ctx, c.Name, build); err != nil {
		return nil, err
	}
	for mspID, source := range c.Sources {
		if d.Artifacts[mspID], err = source.artifact(ctx, c.Name, build); err != nil {
			return nil, err
		}
	}
	if d.Version == "" {
		d.Version = d.version()
	}
	return d, nil
}

// version is that of a chaincode which is given none: the beginning of a hash of all that it runs.
func (d *Deployment) version() string {
	if len(d.Artifacts) == 1 {
		return d.Artifacts[""].hash[:versionDigits]
	}
	h := sha256.New()
	for _, mspID := range slices.Sorted(maps.Keys(d.Artifacts)) {
		fmt.Fprintf(h, "%s %s\n", mspID, d.Artifacts[mspID].hash)
	}
	return hex.EncodeToString(h.Sum(nil))[:versionDigits]
}

// artifact reads, or builds, a source.
func (s Source) artifact(ctx context.Context, name string, build deploy.BuildConfig) (*Artifact, error) {
	if s.Address != "" {
		connection, err := s.Connection()
		if err != nil {
			return nil, err
		}
		described, err := json.Marshal(connection)
		if err != nil {
			return nil, err
		}
		hash := sha256.Sum256(described)
		return &Artifact{Service: connection, hash: hex.EncodeToString(hash[:])}, nil
	}
	info, err := os.Stat(s.Path)
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	if !info.IsDir() {
		raw, err := os.ReadFile(s.Path)
		if err != nil {
			return nil, fmt.Errorf("source: %w", err)
		}
		pkg, err := deploy.ParsePackage(raw)
		if err != nil {
			return nil, fmt.Errorf("source %s: %w", s.Path, err)
		}
		return &Artifact{Package: raw, PackageID: pkg.ID, hash: pkg.ID[strings.LastIndexByte(pkg.ID, ':')+1:]}, nil
	}
	contract, err := deploy.Detect(s.Path)
	if err != nil {
		return nil, err
	}
	prepared, err := contract.Prepare(ctx, build)
	if err != nil {
		return nil, err
	}
	raw, err := prepared.Pack(name)
	if err != nil {
		return nil, err
	}
	pkg, err := deploy.ParsePackage(raw)
	if err != nil {
		return nil, err
	}
	return &Artifact{Package: raw, PackageID: pkg.ID, hash: prepared.Hash}, nil
}
