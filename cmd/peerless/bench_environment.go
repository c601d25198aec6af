package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// benchEnvironment is where and when a benchmark ran.
type benchEnvironment struct {
	Date       time.Time `json:"date"`
	Commit     string    `json:"commit"` // with "+changes" if the source was changed since
	Go         string    `json:"go"`
	Platform   string    `json:"platform"`
	Cores      int       `json:"cores"`
	Processor  string    `json:"processor,omitempty"`
	Filesystem string    `json:"filesystem"`
	Disk       bool      `json:"disk"`                       // whether that is on a disk, as far as one can tell
	Sync       float64   `json:"syncMilliseconds,omitempty"` // median time to write 4 KiB and sync them
}

func (e benchEnvironment) String() string {
	text := fmt.Sprintf("%s, commit %s, %s, %s, %d cores", e.Date.Format(time.RFC3339), e.Commit, e.Go, e.Platform, e.Cores)
	if e.Processor != "" {
		text += ", " + e.Processor
	}
	text += ", " + e.Filesystem
	if e.Sync > 0 {
		text += fmt.Sprintf(" with %.2f ms for a write and sync", e.Sync)
	}
	return text
}

// describeEnvironment looks around. What cannot be found out is "unknown".
func describeEnvironment(ctx context.Context, dir string) benchEnvironment {
	e := benchEnvironment{
		Date: time.Now().UTC().Truncate(time.Second), Commit: commit(ctx), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		Cores: runtime.NumCPU(), Processor: processor(), Filesystem: filesystem(dir),
	}
	e.Disk = !slices.Contains([]string{"tmpfs", "ramfs"}, e.Filesystem)
	if median, err := syncTime(dir); err == nil {
		e.Sync = milliseconds(median)
	}
	return e
}

// commit is what this program was built from.
func commit(ctx context.Context) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		settings := make(map[string]string)
		for _, s := range info.Settings {
			settings[s.Key] = s.Value
		}
		if revision := settings["vcs.revision"]; revision != "" {
			if settings["vcs.modified"] == "true" {
				return revision + "+changes"
			}
			return revision
		}
	}
	source, err := findSource("")
	if err != nil {
		return "unknown"
	}
	revision, err := exec.CommandContext(ctx, "git", "-C", source, "rev-parse", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	changes, err := exec.CommandContext(ctx, "git", "-C", source, "status", "--porcelain").Output()
	if err != nil || len(changes) > 0 {
		return strings.TrimSpace(string(revision)) + "+changes"
	}
	return strings.TrimSpace(string(revision))
}

// processor is the name of the first one, where the system tells it in a file.
func processor() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// syncTime measures what one durable write costs.
func syncTime(dir string) (time.Duration, error) {
	f, err := os.Create(filepath.Join(dir, "sync"))
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	page := make([]byte, 4096)
	times := make([]time.Duration, 50)
	for i := range times {
		start := time.Now()
		if _, err := f.Write(page); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
		times[i] = time.Since(start)
	}
	slices.Sort(times)
	return times[len(times)/2], nil
}
