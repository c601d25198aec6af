package main

import (
	"encoding/json"
	"fmt"
	"os"
)

// connectionProfile is Fabric's common connection profile of one gateway.
func connectionProfile(config exportConfig) ([]byte, error) {
	type certificates struct {
		PEM string `json:"pem"`
	}
	type peer struct {
		URL        string        `json:"url"`
		TLSCACerts *certificates `json:"tlsCACerts,omitempty"`
	}
	type member struct {
		MSPID string   `json:"mspid"`
		Peers []string `json:"peers"`
	}
	gateway := peer{URL: "grpc://" + config.grpc}
	if config.tlsCA != "" {
		authority, err := os.ReadFile(config.tlsCA)
		if err != nil {
			return nil, fmt.Errorf("read the TLS authority: %w", err)
		}
		gateway = peer{"grpcs://" + config.grpc, &certificates{string(authority)}}
	}
	return json.MarshalIndent(map[string]any{
		"name": "peerless", "version": "1.0.0",
		"client":        map[string]string{"organization": config.organization},
		"organizations": map[string]member{config.organization: {config.organization, []string{"gateway"}}},
		"peers":         map[string]peer{"gateway": gateway},
	}, "", "  ")
}
