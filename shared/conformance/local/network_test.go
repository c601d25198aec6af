package local_test

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	probe "peerless/contracts/probe/chaincode"
	"peerless/shared/chaincode"
	"peerless/shared/conformance"
	"peerless/shared/conformance/local"
	"peerless/shared/ledger"
	"peerless/shared/store/dynamodb"
	"peerless/shared/store/dynamodb/dynamodbtest"
	"peerless/shared/store/mem"
	"peerless/shared/store/pebble"
)

// check runs every scenario on a network over a store with the probe in hosts of a kind, then audits its channels.
func check(t *testing.T, store ledger.Store, host func(name string) (chaincode.Host, error)) {
	t.Helper()
	files, err := conformance.Files()
	if err != nil {
		t.Fatal(err)
	}
	scenarios, err := conformance.Scenarios(files)
	if err != nil {
		t.Fatal(err)
	}
	_, shared := store.(ledger.SharedStore)
	network, identities, err := local.Start(t.Context(), local.Config{Store: store, Shared: shared, Host: host})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := network.Close(); err != nil {
			t.Error(err)
		}
		for _, channel := range []string{"alpha", "beta"} {
			if _, err := (&ledger.Audit{Store: store, Channel: channel, Scratch: mem.New(mem.Config{}), Keys: network.Ledger().Keys}).Run(context.Background()); err != nil {
				t.Errorf("audit of %s: %v", channel, err)
			}
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	conformance.Check(t, network, identities, scenarios, conformance.Options{
		// A host answers once the chaincode is back: nobody has to wait for that.
		Pause: func(context.Context, time.Duration) error { return nil },
	})
}

func TestInProcess(t *testing.T) {
	t.Parallel()
	disk, err := pebble.Open(t.TempDir(), pebble.Config{})
	if err != nil {
		t.Fatal(err)
	}
	table, err := dynamodb.Open(dynamodb.Config{Client: dynamodbtest.NewDouble(), Table: "table"})
	if err != nil {
		t.Fatal(err)
	}
	for name, store := range map[string]ledger.Store{
		"DynamoDB": table,
		"memory":   mem.New(mem.Config{}), "memory that applies late": mem.New(mem.Config{SeparateApply: true, Loose: true}), "disk": disk,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, store, func(name string) (chaincode.Host, error) {
				return chaincode.StartInProcess(name, probe.New(), chaincode.Config{})
			})
		})
	}
}

func TestProcess(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "probe")
	if out, err := exec.Command("go", "build", "-o", program, "peerless/contracts/probe").CombinedOutput(); err != nil {
		t.Fatalf("build the probe: %v\n%s", err, out)
	}
	for _, mode := range []chaincode.Mode{chaincode.Dial, chaincode.Serve} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			check(t, mem.New(mem.Config{}), func(name string) (chaincode.Host, error) {
				return chaincode.NewProcess(chaincode.ProcessConfig{Name: name, Path: program, Mode: mode})
			})
		})
	}
}
