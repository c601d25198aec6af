package mem_test

import (
	"testing"

	"peerless/shared/ledger"
	"peerless/shared/ledger/ledgertest"
	"peerless/shared/store/mem"
)

func TestStore(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]mem.Config{
		"plain":           {},
		"separate":        {SeparateApply: true},
		"loose":           {Loose: true},
		"loose, separate": {Loose: true, SeparateApply: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ledgertest.TestStore(t, ledgertest.Capabilities{FixedViews: !config.Loose, AppendApplies: !config.SeparateApply, Ages: true},
				func(t *testing.T, _ string) ledger.Store { return mem.New(config) })
		})
	}
}
