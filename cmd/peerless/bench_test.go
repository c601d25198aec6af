package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAssetsHaveTheirSize(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, n := range []int{0, 1, 2, 999, 1_000_000, 1 << 40} {
		asset := assetJSON(assetID(n), assetOwner(n))
		if len(asset) != assetSize || !json.Valid([]byte(asset)) || seen[assetID(n)] {
			t.Errorf("asset %d is %s, of %d bytes", n, asset, len(asset))
		}
		seen[assetID(n)] = true
		for _, body := range [][]byte{createBody(nil, n), readBody(nil, n), transferBody(nil, n)} {
			if !json.Valid(body) {
				t.Errorf("not JSON: %s", body)
			}
		}
	}
}

func TestOnlyValidCounts(t *testing.T) {
	t.Parallel()
	submits, evaluates := &benchRun{benchLoad: benchLoad{submits: true}}, &benchRun{}
	for _, test := range []struct {
		run    *benchRun
		status int
		answer string
		want   string
	}{
		{submits, http.StatusOK, `{"transactionId":"1","code":"VALID","result":null}`, ""},
		{submits, http.StatusOK, `{"result":null}`, "HTTP 200"},
		{submits, http.StatusConflict, `{"code":"MVCC_READ_CONFLICT"}`, "MVCC_READ_CONFLICT"},
		{submits, http.StatusBadGateway, `<html>`, "HTTP 502"},
		{evaluates, http.StatusOK, `{"height":1,"result":null}`, ""},
		{evaluates, http.StatusNotFound, `{"code":"NOT_FOUND"}`, "NOT_FOUND"},
	} {
		if got := test.run.judge(test.status, []byte(test.answer)); got != test.want {
			t.Errorf("%d %s counts as %q, want %q", test.status, test.answer, got, test.want)
		}
	}
}

func TestPercentiles(t *testing.T) {
	t.Parallel()
	r := &benchResult{}
	if got := r.percentile(0.5); got != 0 {
		t.Errorf("of nothing: %s", got)
	}
	for n := range 100 {
		r.latencies = append(r.latencies, time.Duration(n+1))
	}
	var got []time.Duration
	for _, p := range []float64{0, 0.5, 0.99, 1} {
		got = append(got, r.percentile(p))
	}
	if diff := cmp.Diff(got, []time.Duration{1, 51, 100, 100}); diff != "" {
		t.Error(diff)
	}
}

func TestThousands(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{0: "0", 12: "12", 123: "123", 1234: "1,234", 123456: "123,456", 1234567: "1,234,567"} {
		if got := thousands(n); got != want {
			t.Errorf("%d is written %s, want %s", n, got, want)
		}
	}
}

func TestCPUOfALoad(t *testing.T) {
	t.Parallel()
	before := cpuTimes{server: time.Second, client: time.Second, all: 10 * time.Second}
	after := cpuTimes{server: 3 * time.Second, contract: time.Second, client: 2 * time.Second, all: 16 * time.Second}
	got := after.since(before, 1000, 10*time.Second)
	if got.Server != 2000 || got.Contract != 1000 || got.Client != 1000 || fmt.Sprintf("%.4f", got.Others*float64(runtime.NumCPU())) != "0.2000" {
		t.Errorf("got %+v", got)
	}
}
