package cost_test

import (
	"math"
	"testing"
	"time"

	"peerless/shared/cost"
)

func TestMillion(t *testing.T) {
	t.Parallel()
	p, err := cost.List()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := time.Parse(time.DateOnly, p.Date); err != nil || p.Region == "" || p.Source == "" || p.Currency != "USD" {
		t.Errorf("prices of %q in %q from %q: want a date, a region and a source", p.Date, p.Region, p.Source)
	}
	for name, c := range map[string]struct {
		usage cost.Usage
		want  float64
	}{
		"nothing":                      {cost.Usage{}, 0},
		"writes":                       {cost.Usage{WriteUnits: 2}, 1.25},
		"reads":                        {cost.Usage{ReadUnits: 4}, 0.5},
		"HTTP":                         {cost.Usage{Requests: 1}, 1},
		"invocations":                  {cost.Usage{Invocations: 2}, 0.4},
		"a 512 MB function for 100 ms": {cost.Usage{GBSeconds: 0.05}, 0.66667},
		"a kilobyte of log":            {cost.Usage{LogBytes: 1024}, 0.47684},
		"all":                          {cost.Usage{WriteUnits: 2, ReadUnits: 4, Requests: 1, Invocations: 2, GBSeconds: 0.05, LogBytes: 1024}, 1.25 + 0.5 + 1 + 0.4 + 0.66667 + 0.47684},
	} {
		if got := p.Million(c.usage).Total; math.Abs(got-c.want) > 1e-5 {
			t.Errorf("%s: got $%f, want $%f", name, got, c.want)
		}
	}
	if got := p.Million(cost.Usage{StoredBytes: 1 << 30 / 1e6}); math.Abs(got.Stored-0.45) > 1e-9 || got.Total != 0 {
		t.Errorf("a gigabyte that stays: got %+v", got)
	}
	if got := p.FabricMonth(); math.Round(got) != 244 {
		t.Errorf("managed Fabric: got $%f a month", got)
	}
}
