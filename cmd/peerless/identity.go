package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"peerless/shared/docstore"
	"peerless/shared/msp"
	"peerless/shared/msp/mspdir"
	"peerless/shared/node"
	"peerless/shared/organization"
)

type exportConfig struct {
	data, organization, out string
	admin                   bool
	attributes              []string
	grpc, tlsCA, sealKey    string
}

func newIdentityCommand(a *app) *cobra.Command {
	return group(&cobra.Command{
		Use:   "identity",
		Short: "Hand out users' certificates and keys, for clients of the Fabric Gateway",
		Long: `A client of the Fabric Gateway signs for itself, with a certificate of an organisation that Peerless made the authority of.
Organisations that brought their MSP along issue their own.`,
		Example: `  peerless identity export alice --out alice`,
	}, newIdentityExportCommand(a))
}

func newIdentityExportCommand(a *app) *cobra.Command {
	var config exportConfig
	cmd := &cobra.Command{
		Use:   "export USER",
		Short: "Write a user's MSP directory and connection profile",
		Long: `Export writes a directory for a client of the Fabric Gateway: msp, a Fabric MSP directory with the user's certificate
(signcerts/cert.pem) and key (keystore/key.pem), and connection.json, a connection profile. The user's certificate is issued at
the first call, and is the one that requests in the user's name get over HTTP too. It reads the data directory; a server may
run on it.`,
		Example: `  peerless identity export alice --out alice
  peerless identity export alice --organization Org2MSP --attr role=clerk --data /var/lib/peerless --grpc peerless.example:7051 --tls-ca ca.pem`,
		Args: arguments(1, 1, "a user's name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			attributes, err := pairs("--attr", config.attributes)
			if err != nil {
				return &usageError{cmd.CommandPath(), err.Error()}
			}
			if config.admin && len(attributes) > 0 {
				return &usageError{cmd.CommandPath(), "--admin and --attr exclude each other"}
			}
			if config.out == "" {
				config.out = args[0]
			}
			return a.exportIdentity(cmd.Context(), args[0], attributes, config)
		},
	}
	f := cmd.Flags()
	f.StringVar(&config.data, "data", defaultData, "the data directory of peerless dev or serve")
	f.StringVar(&config.organization, "organization", defaultOrganization, "the user's organisation")
	f.StringVarP(&config.out, "out", "o", "", "the directory to write (default: the user's name)")
	f.BoolVar(&config.admin, "admin", false, "an administrator of the organisation, not a client")
	f.StringArrayVar(&config.attributes, "attr", nil, "NAME=VALUE, an attribute in the user's certificate; may be repeated")
	addSealKey(cmd, &config.sealKey)
	f.StringVar(&config.grpc, "grpc", defaultGRPC, "the address of the gateway, for the connection profile")
	f.StringVar(&config.tlsCA, "tls-ca", "", "a PEM file with the authority of the gateway's TLS certificate, for the connection profile")
	return cmd
}

func (a *app) exportIdentity(ctx context.Context, name string, attributes map[string]string, config exportConfig) error {
	if _, err := os.Stat(filepath.Join(config.data, storeDir)); err != nil {
		return fmt.Errorf("open the data directory: %w: peerless dev and peerless serve make it", err)
	}
	sealer, err := a.sealKey(config.data, config.sealKey)
	if err != nil {
		return err
	}
	documents, err := docstore.OpenDir(filepath.Join(config.data, node.DocumentsDir))
	if err != nil {
		return err
	}
	registry, err := organization.Open(ctx, organization.Config{Store: documents, Sealer: sealer})
	if err != nil {
		return err
	}
	if !slices.Contains(registry.Organizations(), config.organization) {
		return fmt.Errorf("there is no organisation %s in %s: peerless apply makes one", config.organization, config.data)
	}
	member, err := registry.Organization(config.organization)
	if err != nil {
		return err
	}
	var user *msp.Signer
	if config.admin {
		user, err = member.Admin(name)
	} else {
		user, err = member.User(name, attributes)
	}
	if errors.Is(err, organization.ErrNoAuthority) {
		return fmt.Errorf("%s brought its MSP along and issues its own certificates: ask its authority for one", config.organization)
	}
	if err != nil {
		return err
	}
	certificate, key, err := user.PEM()
	if err != nil {
		return err
	}
	if err := os.Mkdir(config.out, 0o700); err != nil {
		return fmt.Errorf("export %s: %w: choose another directory with --out", name, err)
	}
	if err := mspdir.Write(filepath.Join(config.out, "msp"), member.MSPConfig(), certificate, key); err != nil {
		return err
	}
	profile, err := connectionProfile(config)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(config.out, "connection.json"), profile, 0o644); err != nil {
		return fmt.Errorf("export %s: %w", name, err)
	}
	if a.json {
		return a.printJSON(struct {
			Name      string `json:"name"`
			MSPID     string `json:"mspId"`
			Directory string `json:"directory"`
		}{name, config.organization, config.out})
	}
	a.note("%s of %s: certificate, key and connection profile are in %s", name, config.organization, config.out)
	return nil
}
