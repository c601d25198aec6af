package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// processMemory returns what this process has in memory, and the most it had, in bytes: VmRSS and VmHWM of proc_pid_status(5).
func processMemory() (resident, peak uint64, err error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, 0, fmt.Errorf("measure memory: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		into := map[string]*uint64{"VmRSS": &resident, "VmHWM": &peak}[name]
		if into == nil {
			continue
		}
		kilobytes, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("measure memory: %s: %w", name, err)
		}
		*into = kilobytes << 10
	}
	return resident, peak, nil
}

// filesystem returns the type of the file system that holds a directory, from proc_pid_mountinfo(5).
func filesystem(dir string) string {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "unknown"
	}
	best, kind := "", "unknown"
	for line := range strings.Lines(string(mounts)) {
		before, after, ok := strings.Cut(line, " - ")
		fields, types := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(types) == 0 {
			continue
		}
		point := fields[4]
		if (point == "/" || dir == point || strings.HasPrefix(dir, point+"/")) && len(point) >= len(best) {
			best, kind = point, types[0]
		}
	}
	return kind
}

// tick is the unit of the kernel's times in /proc, USER_HZ.
const tick = 10 * time.Millisecond

// measureCPU returns the time on the processors so far: of a server and its children, of this process, and of all.
func measureCPU(server int) (cpuTimes, bool) {
	var t cpuTimes
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		return t, false
	}
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// After the name, which may hold anything: state, parent, and times in fields 14 and 15 of proc_pid_stat(5).
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if len(fields) < 13 {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		parent, _ := strconv.Atoi(fields[1])
		used := ticks(fields[11]) + ticks(fields[12])
		switch {
		case pid == server:
			t.server += used
		case parent == server:
			t.contract += used
		case pid == os.Getpid():
			t.client += used
		}
	}
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return t, false
	}
	line, _, _ := strings.Cut(string(stat), "\n")
	for i, field := range strings.Fields(line)[1:] {
		if i < 8 && i != 3 && i != 4 { // all but idle and waiting for a disk; guests' time is in the user's
			t.all += ticks(field)
		}
	}
	return t, true
}

func ticks(field string) time.Duration {
	n, err := strconv.ParseInt(field, 10, 64)
	if err != nil {
		return 0
	}
	return time.Duration(n) * tick
}
