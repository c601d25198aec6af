package mem_test

import (
	"testing"

	"peerless/shared/ledger"
	"peerless/shared/ledger/ledgertest"
	"peerless/shared/store/mem"
)

// stagedLimits are small, and more than the largest set that the suite stages.
var stagedLimits = ledger.StagedLimits{Channel: 3 << 20, Total: 5 << 20}

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
			config.Staged = stagedLimits
			ledgertest.TestStore(t, ledgertest.Capabilities{FixedViews: !config.Loose, AppendApplies: !config.SeparateApply, Ages: true, Staged: stagedLimits},
				func(t *testing.T, _ string) ledger.Store {
					return mem.New(config)
				})
		})
	}
}
