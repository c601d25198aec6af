package main

import (
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"peerless/shared/node"
	"peerless/shared/secret"
)

// sealKeyVariable holds the key itself: for machines that get their secrets in the environment.
const sealKeyVariable = "PEERLESS_SEAL_KEY"

func addSealKey(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "seal-key", "",
		"the file with the key that seals private keys; made if it is not there and nothing is sealed yet (default: "+sealKeyVariable+", which holds the key itself, else "+node.SealKeyFile+" in the data directory)")
}

// sealKey returns the key of a data directory: that in the file, that in the environment, or that in the directory.
func (a *app) sealKey(data, file string) (*secret.Key, error) {
	if text := a.getenv(sealKeyVariable); file == "" && text != "" {
		key, err := secret.ParseKey(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", sealKeyVariable, err)
		}
		return key, nil
	}
	return node.SealKey(data, file)
}

// openSealed opens a data directory with the key that seals it: see sealKey.
func (a *app) openSealed(o opening, sealKey string, level slog.Level) (*platform, error) {
	if err := checkData(o.data); err != nil { // before a key is made there
		return nil, err
	}
	key, err := a.sealKey(o.data, sealKey)
	if err != nil {
		return nil, err
	}
	o.sealer = key
	return openPlatform(o, a.logger(level))
}
