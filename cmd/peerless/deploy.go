package main

import (
	"bytes"
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"peerless/shared/api/client"
	"peerless/shared/collection"
	"peerless/shared/deploy"
)

type deployConfig struct {
	channel, name, version, policy, collections, platform string
	source                                                bool
}

func newDeployCommand(a *app) *cobra.Command {
	var config deployConfig
	var by caller
	cmd := &cobra.Command{
		Use:   "deploy DIR|PACKAGE",
		Short: "Deploy a contract, and wait until it answers",
		Long: `Deploy sends a contract to a server, which runs it and agrees on it for a channel. A directory is built here first, for
this machine's platform or --platform; with --source, the server builds it. A package is a Fabric chaincode package
(.tar.gz). Deploying a name again replaces what it runs: if the new one does not start, the old one goes on.`,
		Example: `  peerless deploy ./assettransfer
  peerless deploy ./trade --name trade --channel orders --policy "AND('BuyerMSP.peer','SellerMSP.peer')"
  peerless deploy ./trade --collections collections_config.json
  peerless deploy trade.tar.gz --version 1.1`,
		Args: arguments(1, 1, "a directory or a package"),
	}
	r := newRemote(cmd)
	addChannel(cmd, &config.channel)
	by.addTo(cmd)
	f := cmd.Flags()
	f.StringVar(&config.name, "name", "", "the chaincode's name (default: the directory's, or the package's label)")
	f.StringVar(&config.version, "version", "", "its version (default: made of its content)")
	f.StringVar(&config.policy, "policy", "", "who must endorse, in Fabric's notation (default: the channel's majority)")
	f.StringVar(&config.collections, "collections", "", "a file of private data collections, as Fabric has it")
	f.StringVar(&config.platform, "platform", "", "what to build for, such as linux/arm64 (default: this machine)")
	f.BoolVar(&config.source, "source", false, "send the source, for the server to build")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if config.source && config.platform != "" {
			return &usageError{cmd.CommandPath(), "--source and --platform exclude each other: the server builds for its own"}
		}
		if err := by.open(a, cmd, r); err != nil {
			return err
		}
		collections, err := readCollections(config.collections)
		if err != nil {
			return fmt.Errorf("deploy: %w", err)
		}
		config.collections = collections
		pkg, err := a.readPackage(cmd.Context(), args[0], &config)
		if err != nil {
			return err
		}
		return a.upload(cmd.Context(), r, pkg, config)
	}
	return cmd
}

// readCollections reads a file of collections and looks whether it is one; no name is none.
func readCollections(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	if _, err := collection.Parse(text); err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return string(text), nil
}

// readPackage reads a package, or makes one of a directory. It fills what the flags left open.
func (a *app) readPackage(ctx context.Context, name string, config *deployConfig) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("deploy %s: %w: name a directory with a contract, or a package", name, err)
	}
	if !info.IsDir() {
		pkg, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("deploy: %w", err)
		}
		if _, err := deploy.ParsePackage(pkg); err != nil {
			return nil, fmt.Errorf("deploy %s: %w", name, err)
		}
		return pkg, nil
	}
	contract, err := deploy.Detect(name)
	if err != nil {
		return nil, err
	}
	if config.name == "" {
		config.name = contract.Name
	}
	if isTerminal(a.err) {
		a.note("building %s", contract.Dir)
	}
	if config.source {
		return deploy.Pack(ctx, contract.Dir, config.name, deploy.BuildConfig{})
	}
	program, err := deploy.Build(ctx, contract.Dir, deploy.BuildConfig{Platform: config.platform})
	if err != nil {
		return nil, err
	}
	executable, err := os.ReadFile(program.Path)
	if err != nil {
		return nil, fmt.Errorf("read the program of %s: %w", contract.Name, err)
	}
	if config.version == "" {
		config.version = program.Hash[:versionDigits]
	}
	return deploy.PackBinary(config.name, program.Platform, executable, contract.Dir)
}

// upload sends a package and waits until the chaincode answers.
func (a *app) upload(ctx context.Context, r *remote, pkg []byte, config deployConfig) error {
	body, done := a.progress(bytes.NewReader(pkg), int64(len(pkg)), "uploading")
	spec := client.DeploySpec{Channel: config.channel, Name: config.name, Version: config.version, Policy: config.policy, Collections: config.collections}
	deployed, err := r.Deploy(ctx, spec, body)
	done()
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(deployed)
	}
	a.note("%s runs on %s, version %s, sequence %d", deployed.Name, config.channel, deployed.Version, deployed.Sequence)
	return nil
}
