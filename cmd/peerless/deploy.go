package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"peerless/shared/api/client"
	"peerless/shared/collection"
	"peerless/shared/deploy"
)

type deployConfig struct {
	channel, name, version, policy, collections, platform string
	organization                                          string // to approve for
	source, initRequired                                  bool
	out                                                   string // a file
	memory                                                int32
}

func newDeployCommand(a *app) *cobra.Command {
	var config deployConfig
	var by caller
	cmd := &cobra.Command{
		Use:   "deploy DIR|PACKAGE|ZIP",
		Short: "Deploy a contract, and wait until it answers",
		Long: `Deploy brings a contract to a platform, which agrees on it for a channel and runs it. A directory is built here first; with
--source, the server builds it. A package is a Fabric chaincode package (.tar.gz); a zip is a function's, as --package-only writes it. Deploying a
name again replaces what it runs: if the new one does not start, the old one goes on.

A channel's organisations approve a definition, each for itself, before it holds. Deploy approves for those for which you may: the key's own, or all for which the platform
endorses. If that is not enough it says whom it waits for, and the old definition goes on; the others run peerless approve, or approve with a client of the Fabric
Gateway. Deploying again then goes on from there.

With --stack (or PEERLESS_STACK, or stack in the configuration file) the platform is one that sam deploy made: the contract becomes a Lambda function of the stack, with the
stack's adapter beside the unmodified program. Credentials and region are AWS's as always: AWS_PROFILE, AWS_REGION. Deploying what is there already changes nothing.`,
		Example: `  peerless deploy ./assettransfer
  peerless deploy ./trade --name trade --channel orders --policy "AND('BuyerMSP.peer','SellerMSP.peer')"
  peerless deploy ./trade --collections collections_config.json
  peerless deploy trade.tar.gz --version 1.1
  peerless deploy ./assettransfer --stack peerless-dev --channel main
  peerless deploy ./assettransfer --package-only assettransfer.zip`,
		Args: arguments(1, 1, "a directory, a package or a zip"),
	}
	r := newRemote(cmd)
	addChannel(cmd, &config.channel)
	by.approvesFor(cmd)
	f := cmd.Flags()
	f.StringVar(&config.name, "name", "", "the chaincode's name (default: the directory's, the zip's, or the package's label)")
	f.StringVar(&config.version, "version", "", "its version (default: made of its content)")
	f.StringVar(&config.policy, "policy", "", "who must endorse, in Fabric's notation (default: the channel's majority)")
	f.StringVar(&config.collections, "collections", "", "a file of private data collections, as Fabric has it")
	f.BoolVar(&config.initRequired, "init-required", false, "the chaincode's Init must be called first: peerless submit --is-init")
	f.StringVar(&config.platform, "platform", "", "what to build for, such as linux/arm64 (default: this machine; with --stack, what its functions run on)")
	f.BoolVar(&config.source, "source", false, "send the source, for the server to build")
	f.StringVar(&config.out, "package-only", "", "write the function's zip to this file, and deploy nothing")
	f.Int32Var(&config.memory, "memory", 0, "with --stack: the function's memory in MB (default 256)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if config.source && config.platform != "" {
			return &usageError{cmd.CommandPath(), "--source and --platform exclude each other: the server builds for its own"}
		}
		if config.out != "" {
			return a.packageOnly(cmd.Context(), args[0], config)
		}
		if err := by.open(a, cmd, r); err != nil {
			return err
		}
		config.organization = by.organization
		collections, err := readCollections(config.collections)
		if err != nil {
			return fmt.Errorf("deploy: %w", err)
		}
		config.collections = collections
		if r.stack != nil {
			if config.source {
				return &usageError{cmd.CommandPath(), "--source and --stack exclude each other: a function is built here"}
			}
			return a.deployToStack(cmd.Context(), r, args[0], config)
		}
		if config.memory != 0 {
			return &usageError{cmd.CommandPath(), "--memory is a function's: it goes with --stack"}
		}
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

// spec is what the platform is told.
func (c *deployConfig) spec() client.DeploySpec {
	return client.DeploySpec{Channel: c.channel, Name: c.name, Version: c.version, Policy: c.policy, Collections: c.collections, InitRequired: c.initRequired, Organization: c.organization}
}

// readPackage reads a package or a zip, or makes a package of a directory. It fills what the flags left open.
func (a *app) readPackage(ctx context.Context, name string, config *deployConfig) ([]byte, error) {
	directory, raw, err := readSource(name)
	if err != nil {
		return nil, err
	}
	if !directory {
		if deploy.IsFunction(raw) {
			config.nameOf(name)
			_, err = deploy.ParseFunction(raw)
		} else {
			_, err = deploy.ParsePackage(raw)
		}
		if err != nil {
			return nil, fmt.Errorf("deploy %s: %w", name, err)
		}
		return raw, nil
	}
	if config.source {
		contract, err := a.detect(name, config)
		if err != nil {
			return nil, err
		}
		if contract.Type == deploy.Golang {
			return deploy.Pack(ctx, contract.Dir, config.name, deploy.BuildConfig{})
		}
	}
	prepared, err := a.prepare(ctx, name, config)
	if err != nil {
		return nil, err
	}
	return prepared.Pack(config.name)
}

// readSource reads a file, unless the name is a directory's.
func readSource(name string) (directory bool, raw []byte, err error) {
	info, err := os.Stat(name)
	if err != nil {
		return false, nil, fmt.Errorf("deploy %s: %w: name a directory with a contract, a package or a zip", name, err)
	}
	if info.IsDir() {
		return true, nil, nil
	}
	if raw, err = os.ReadFile(name); err != nil {
		return false, nil, fmt.Errorf("deploy: %w", err)
	}
	return false, raw, nil
}

// nameOf names the chaincode after a file, unless it has a name.
func (c *deployConfig) nameOf(file string) {
	if c.name == "" {
		base, _, _ := strings.Cut(filepath.Base(file), ".")
		c.name = deploy.ChaincodeName(base)
	}
}

// detect finds the contract in a directory, and says that it is being built.
func (a *app) detect(dir string, config *deployConfig) (*deploy.Contract, error) {
	contract, err := deploy.Detect(dir)
	if err != nil {
		return nil, err
	}
	if config.name == "" {
		config.name = contract.Name
	}
	if isTerminal(a.err) {
		a.note("building %s", contract.Dir)
	}
	return contract, nil
}

// prepare builds the contract in a directory. The version is its content's, if there is none.
func (a *app) prepare(ctx context.Context, dir string, config *deployConfig) (*deploy.Prepared, error) {
	contract, err := a.detect(dir, config)
	if err != nil {
		return nil, err
	}
	prepared, err := contract.Prepare(ctx, deploy.BuildConfig{Platform: config.platform})
	if err != nil {
		return nil, err
	}
	if config.version == "" {
		config.version = prepared.Hash[:versionDigits]
	}
	return prepared, nil
}

// upload sends a package and waits until the chaincode answers.
func (a *app) upload(ctx context.Context, r *remote, pkg []byte, config deployConfig) error {
	body, done := a.progress(bytes.NewReader(pkg), int64(len(pkg)), "uploading")
	deployed, err := r.Deploy(ctx, config.spec(), body)
	done()
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(deployed)
	}
	a.noteDeployed(deployed, config.channel)
	return nil
}

// noteDeployed says what became of a deployment.
func (a *app) noteDeployed(c *client.Chaincode, channel string) {
	if len(c.Awaits) > 0 {
		a.note("%s", c.Detail)
		return
	}
	a.note("%s runs on %s, version %s, sequence %d", c.Name, channel, c.Version, c.Sequence)
}
