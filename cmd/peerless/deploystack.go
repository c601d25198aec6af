package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"

	"peerless/shared/api/client"
	"peerless/shared/deploy"
	"peerless/shared/stack"
)

// platformOf is Go's name of what a stack's functions run on.
func platformOf(architecture string) string {
	if architecture == "x86_64" {
		return "linux/amd64"
	}
	return "linux/arm64"
}

// deployToStack makes a contract a function of a stack, and what a channel runs.
func (a *app) deployToStack(ctx context.Context, r *remote, source string, config deployConfig) error {
	want := platformOf(r.stack.Architecture)
	if config.platform == "" {
		config.platform = want
	}
	raw, f, indexes, err := a.readFunction(ctx, source, &config)
	if err != nil {
		return err
	}
	if f.Platform != want {
		return &stack.SettingError{Setting: "architecture", Text: fmt.Sprintf(
			"%s is built for %s, the functions of stack %s run on %s: build it with --platform %s", source, f.Platform, r.stack.Name, want, want)}
	}
	sum := sha256.Sum256(raw)
	hash := hex.EncodeToString(sum[:])
	if config.version == "" {
		config.version = hash[:versionDigits]
	}
	if isTerminal(a.err) && !a.json {
		r.stack.Progress = func(what string) { a.note("%s", what) }
	}
	registered, err := r.stack.Register(ctx, stack.Contract{
		Channel: config.channel, Chaincode: config.name, Zip: raw, Handler: f.Handler, Adapter: f.Adapter, Memory: config.memory,
	})
	if err != nil {
		return err
	}
	deployed, err := r.DeployFunction(ctx, config.spec(), client.Function{Name: registered.Function, Qualifier: registered.Alias, PackageID: config.name + ":" + hash}, indexes)
	if err != nil {
		return err
	}
	if err := r.stack.Show(ctx, registered); err != nil {
		return err
	}
	if a.json {
		return a.printJSON(struct {
			*client.Chaincode
			*stack.Registration
			FunctionVersion string `json:"functionVersion"` // Lambda's; version is the chaincode's
			Version         string `json:"version"`
		}{deployed, registered, registered.Version, deployed.Version})
	}
	state := "as"
	if registered.Unchanged {
		state = "as before, as"
	}
	if len(deployed.Awaits) > 0 {
		a.note("%s", deployed.Detail)
		return nil
	}
	a.note("%s runs on %s %s %s:%s, version %s, sequence %d", deployed.Name, config.channel, state, registered.Function, registered.Version, deployed.Version, deployed.Sequence)
	return nil
}

// readFunction reads a function's zip, or makes one of a package or a directory, and returns the indexes that a package or a directory
// has for rich queries. It fills what the flags left open.
func (a *app) readFunction(ctx context.Context, name string, config *deployConfig) (raw []byte, f *deploy.FunctionZip, indexes []string, err error) {
	directory, raw, err := readSource(name)
	if err != nil {
		return nil, nil, nil, err
	}
	var program []byte
	switch {
	case directory:
		prepared, prepareErr := a.prepare(ctx, name, config)
		if prepareErr != nil {
			return nil, nil, nil, prepareErr
		}
		if program, _, err = prepared.Program(); err == nil {
			indexes, err = deploy.ReadIndexes(prepared.Dir)
		}
	case deploy.IsFunction(raw):
		config.nameOf(name)
	default:
		pkg, parseErr := deploy.ParsePackage(raw)
		if parseErr != nil {
			return nil, nil, nil, fmt.Errorf("deploy %s: %w", name, parseErr)
		}
		if config.name == "" {
			config.name = pkg.Label
		}
		indexes = pkg.Indexes
		program, err = pkg.Program(ctx, deploy.BuildConfig{Platform: config.platform})
	}
	if err == nil && program != nil {
		raw, err = deploy.PackFunction(program, nil)
	}
	if err != nil {
		return nil, nil, nil, err
	}
	f, err = deploy.ParseFunction(raw)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("deploy %s: %w", name, err)
	}
	return raw, f, indexes, nil
}

// packageOnly writes a function's zip to a file.
func (a *app) packageOnly(ctx context.Context, source string, config deployConfig) error {
	if config.platform == "" {
		config.platform = platformOf("")
	}
	raw, f, _, err := a.readFunction(ctx, source, &config)
	if err != nil {
		return err
	}
	if err := os.WriteFile(config.out, raw, 0o644); err != nil {
		return fmt.Errorf("write the zip: %w", err)
	}
	if a.json {
		return a.printJSON(struct {
			File     string `json:"file"`
			Platform string `json:"platform"`
			Bytes    int    `json:"bytes"`
		}{config.out, f.Platform, len(raw)})
	}
	a.note("%s has the function, for %s, in %d bytes", config.out, f.Platform, len(raw))
	return nil
}
