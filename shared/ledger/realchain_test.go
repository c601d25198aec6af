package ledger_test

import (
	"os"
	"path/filepath"
	"testing"

	"peerless/shared/ledger"
	"peerless/shared/store/mem"
	"peerless/shared/wire"
)

// TestRealChain audits a channel of a real Fabric network: our verdicts on its transactions, every common kind of invalid one
// among them, are those that its peers recorded. See testdata/conformance/README.md, section 5.
func TestRealChain(t *testing.T) {
	files, err := filepath.Glob("../../testdata/conformance/wire/blocks/alpha-*.pb")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d blocks: %v", len(files), err)
	}
	store := mem.New(mem.Config{})
	ctx := t.Context()
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		block, err := wire.ParseBlock(raw)
		if err != nil {
			t.Fatal(err)
		}
		view, err := store.View(ctx, "alpha")
		if err != nil {
			t.Fatal(err)
		}
		batch, err := ledger.BatchOf(ctx, view, block)
		if err != nil {
			t.Fatal(err)
		}
		if err := view.Close(); err != nil {
			t.Fatal(err)
		}
		if err := store.Append(ctx, "alpha", raw, batch); err != nil {
			t.Fatal(err)
		}
	}
	audit := ledger.Audit{Store: store, Channel: "alpha", Scratch: mem.New(mem.Config{})}
	report, err := audit.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if report.Blocks != uint64(len(files)) || report.Invalid < 5 {
		t.Errorf("audit saw %d blocks and %d invalid transactions, want %d and at least 5", report.Blocks, report.Invalid, len(files))
	}
}
