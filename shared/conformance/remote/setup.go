package remote

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"peerless/shared/conformance"
	"peerless/shared/msp"
	"peerless/shared/msp/mspdir"
)

// A Setup is the recorded network as a manifest of peerless apply, with what it brings along: an MSP directory and an endorser's
// key for each organisation, made by authorities of its own.
type Setup struct {
	Manifest   string // the file
	Identities conformance.Identities
}

// A Source says what a chaincode runs: the source of a manifest, a path or a mapping with an address.
type Source func(name string) string

// Prepare writes the manifest and what it names into a directory.
func Prepare(dir string, source Source) (*Setup, error) {
	setup, err := prepare(dir, source)
	if err != nil {
		return nil, fmt.Errorf("prepare the conformance network: %w", err)
	}
	return setup, nil
}

func prepare(dir string, source Source) (*Setup, error) {
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	authorities := map[string]*msp.CA{}
	add("organizations:")
	for _, mspID := range append([]string{"OrdererMSP"}, conformance.Organizations...) {
		ca, err := msp.NewCA(mspID)
		if err != nil {
			return nil, err
		}
		authorities[mspID] = ca
		if err := mspdir.Write(filepath.Join(dir, mspID, "msp"), ca.Config(), nil, nil); err != nil {
			return nil, err
		}
		add("  - mspId: %s", mspID)
		add("    msp: %s/msp", mspID)
		if mspID != "OrdererMSP" {
			add("    endorser: {cert: %s/peer.pem, key: %[1]s/peer.key}", mspID)
		}
	}
	identities, err := conformance.Issue(func(user conformance.User) (*msp.Signer, error) {
		certificate, key, err := authorities[user.MSPID].Issue(msp.IssueRequest{CommonName: user.CommonName, Role: user.Role})
		if err != nil {
			return nil, err
		}
		if user.Role == msp.RolePeer {
			if err := writePeer(dir, user.MSPID, certificate, key); err != nil {
				return nil, err
			}
		}
		return msp.NewSigner(user.MSPID, certificate, key)
	})
	if err != nil {
		return nil, err
	}
	certificate, key, err := authorities["Org2MSP"].Issue(msp.IssueRequest{CommonName: "peer0.org2.test", Role: msp.RolePeer})
	if err != nil {
		return nil, err
	}
	if err := writePeer(dir, "Org2MSP", certificate, key); err != nil {
		return nil, err
	}
	add("channels:")
	channel := ""
	for _, chaincode := range byChannel() {
		if chaincode.Channel != channel {
			channel = chaincode.Channel
			add("  - name: %s", channel)
			add("    organizations: [%s]", strings.Join(conformance.Organizations, ", "))
			add("    chaincodes:")
		}
		add("      - name: %s", chaincode.Name)
		add("        version: \"1\"")
		add("        source: %s", source(chaincode.Name))
		if chaincode.Policy != "" {
			add("        policy: %q", chaincode.Policy)
		}
		if chaincode.Collections != "" {
			file := fmt.Sprintf("collections-%s-%s.json", channel, chaincode.Name)
			if err := os.WriteFile(filepath.Join(dir, file), []byte(chaincode.Collections), 0o600); err != nil {
				return nil, err
			}
			add("        collections: %s", file)
		}
	}
	setup := &Setup{Manifest: filepath.Join(dir, "network.yaml"), Identities: identities}
	return setup, os.WriteFile(setup.Manifest, []byte(strings.Join(lines, "\n")+"\n"), 0o600)
}

func writePeer(dir, mspID string, certificate, key []byte) error {
	return errors.Join(
		os.WriteFile(filepath.Join(dir, mspID, "peer.pem"), certificate, 0o600),
		os.WriteFile(filepath.Join(dir, mspID, "peer.key"), key, 0o600))
}

// byChannel returns the chaincodes with those of a channel together.
func byChannel() []conformance.Chaincode {
	var all []conformance.Chaincode
	for _, channel := range []string{"alpha", "beta"} {
		for _, chaincode := range conformance.Chaincodes {
			if chaincode.Channel == channel {
				all = append(all, chaincode)
			}
		}
	}
	return all
}
