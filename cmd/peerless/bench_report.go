package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A benchRow is one measurement. What a scenario does not measure is left out.
type benchRow struct {
	Scenario string `json:"scenario"`
	Title    string `json:"title"`

	Clients   int            `json:"clients,omitempty"`
	Seconds   float64        `json:"seconds,omitempty"`
	Succeeded int            `json:"succeeded,omitempty"`
	Failed    *int           `json:"failed,omitempty"`   // answers that said something else than a success
	Failures  map[string]int `json:"failures,omitempty"` // by their code
	PerSecond float64        `json:"perSecond,omitempty"`
	Latency   *benchLatency  `json:"latencyMilliseconds,omitempty"`
	CPU       *benchCPU      `json:"cpu,omitempty"`

	Transactions int          `json:"transactions,omitempty"` // committed before the measurement
	Keys         int          `json:"keys,omitempty"`         // in the ledger from the start
	Preload      float64      `json:"preloadSeconds,omitempty"`
	Relative     float64      `json:"relative,omitempty"` // PerSecond as a share of that with few keys
	FirstAnswer  float64      `json:"firstAnswerMilliseconds,omitempty"`
	Channels     int          `json:"channels,omitempty"`
	Growth       *int64       `json:"growthBytes,omitempty"` // of Memory.Collected, by the channels
	Memory       *benchMemory `json:"memoryBytes,omitempty"`
}

// benchLatency is what the clients of successful requests waited.
type benchLatency struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// loadRow is the row of a load.
func loadRow(title string, clients int, r *benchResult) benchRow {
	failed := 0
	for _, n := range r.failures {
		failed += n
	}
	return benchRow{
		Title: title, Clients: clients, Seconds: r.elapsed.Seconds(), Succeeded: r.succeeded, Failed: &failed, Failures: r.failures,
		PerSecond: r.perSecond(), CPU: r.cpu,
		Latency: &benchLatency{
			milliseconds(r.percentile(0.5)), milliseconds(r.percentile(0.9)), milliseconds(r.percentile(0.99)), milliseconds(r.percentile(1)),
		},
	}
}

// report writes the results: a table for people, JSON for machines.
func (b *bench) report() error {
	if b.json {
		return b.printJSON(struct {
			Environment benchEnvironment `json:"environment"`
			Results     []benchRow       `json:"results"`
		}{b.environment, b.rows})
	}
	rows := make([][]string, len(b.rows))
	for i, r := range b.rows {
		rows[i] = r.cells()
	}
	if err := b.printTable([]string{"", "CLIENTS", "PER SECOND", "P50 MS", "P99 MS", "FAILED", "CPU µs", ""}, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintln(b.out, b.environment)
	return err
}

func (r *benchRow) cells() []string {
	cells := []string{r.Title, "", "", "", "", "", "", r.remarks()}
	if r.Latency != nil {
		cells[1] = strconv.Itoa(r.Clients)
		cells[2] = thousands(int(r.PerSecond))
		cells[3] = fmt.Sprintf("%.2f", r.Latency.P50)
		cells[4] = fmt.Sprintf("%.2f", r.Latency.P99)
		cells[5] = thousands(*r.Failed)
	}
	if r.CPU != nil {
		cells[6] = fmt.Sprintf("%.0f", r.CPU.Server)
	}
	return cells
}

// remarks are what only some scenarios measure.
func (r *benchRow) remarks() string {
	var parts []string
	say := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if r.Transactions > 0 {
		say("%s transactions", thousands(r.Transactions))
	}
	if r.Keys > 0 {
		say("%s keys", thousands(r.Keys))
	}
	if r.Relative > 0 {
		say("%.0f %% of the speed with few", 100*r.Relative)
	}
	if r.FirstAnswer > 0 {
		say("first answer after %.0f ms", r.FirstAnswer)
	}
	if r.Channels > 0 {
		say("%s channels take %s, %s each", thousands(r.Channels), mebibytes(*r.Growth), kibibytes(*r.Growth/int64(r.Channels)))
	}
	if r.Memory != nil {
		say("resident %s, at most %s", mebibytes(int64(r.Memory.Resident)), mebibytes(int64(r.Memory.Peak)))
	}
	if r.CPU != nil && r.CPU.Contract > 0 {
		say("%.0f µs more in the contract's process", r.CPU.Contract)
	}
	if r.CPU != nil && r.CPU.Others > 0.05 {
		say("other processes took %.0f %% of the cores", 100*r.CPU.Others)
	}
	for _, code := range slices.Sorted(maps.Keys(r.Failures)) {
		say("%s × %s", thousands(r.Failures[code]), code)
	}
	return strings.Join(parts, "; ")
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
func kibibytes(n int64) string { return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10)) }

// thousands writes a number with commas.
func thousands(n int) string {
	digits := strconv.Itoa(n)
	first := len(digits) % 3
	var parts []string
	if first > 0 {
		parts = append(parts, digits[:first])
	}
	for i := first; i < len(digits); i += 3 {
		parts = append(parts, digits[i:i+3])
	}
	return strings.Join(parts, ",")
}
