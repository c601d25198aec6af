package chaincode

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// Bounds of what a program's output may cost. Beyond them it is read and dropped, so that writing never blocks the program.
const (
	DefaultLogRate = 200     // lines per second; ten times as many at once
	maxLogLine     = 4 << 10 // bytes of a line that are kept
	logQueue       = 256     // lines that may wait for a slow logger
	tailLines      = 12      // kept for the error when the program ends
	tailBytes      = 2 << 10
)

// A childLog takes a program's output apart into lines and passes them on.
type childLog struct {
	logger  *slog.Logger
	lines   chan string
	limit   *rate.Limiter
	dropped atomic.Int64

	// Of the one goroutine that writes.
	line []byte // begun, not ended; at most maxLogLine
	cut  bool   // the rest of the line is dropped

	mu   sync.Mutex
	last []string
}

func newChildLog(logger *slog.Logger, perSecond int) *childLog {
	l := &childLog{
		logger: logger,
		lines:  make(chan string, logQueue),
		limit:  rate.NewLimiter(rate.Limit(perSecond), 10*perSecond),
	}
	go l.forward()
	return l
}

// Write never fails and never waits for the logger.
func (l *childLog) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		part, rest, ended := bytes.Cut(p, []byte{'\n'})
		if room := maxLogLine - len(l.line); len(part) > room {
			part = part[:room]
			l.cut = true
		}
		l.line = append(l.line, part...)
		if ended {
			l.endLine()
		}
		p = rest
	}
	return n, nil
}

func (l *childLog) endLine() {
	text := strings.TrimRight(strings.ToValidUTF8(string(l.line), "\uFFFD"), "\r")
	if l.cut {
		text += " … (cut)"
	}
	l.line, l.cut = l.line[:0], false
	if text == "" {
		return
	}
	l.remember(text)
	if !l.limit.Allow() {
		l.dropped.Add(1)
		return
	}
	select {
	case l.lines <- text:
	default:
		l.dropped.Add(1)
	}
}

// close ends the log after the last Write.
func (l *childLog) close() {
	if len(l.line) > 0 {
		l.endLine()
	}
	close(l.lines)
}

// forward passes lines on, and says once a second at most how many were dropped.
func (l *childLog) forward() {
	var told time.Time
	for line := range l.lines {
		l.logger.LogAttrs(context.Background(), slog.LevelInfo, line)
		if time.Since(told) >= time.Second && l.tellDropped() {
			told = time.Now()
		}
	}
	l.tellDropped()
}

func (l *childLog) tellDropped() bool {
	n := l.dropped.Swap(0)
	if n > 0 {
		l.logger.LogAttrs(context.Background(), slog.LevelWarn, "chaincode's output came too fast, lines were dropped", slog.Int64("lines", n))
	}
	return n > 0
}

func (l *childLog) remember(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.last) == tailLines {
		copy(l.last, l.last[1:])
		l.last = l.last[:tailLines-1]
	}
	l.last = append(l.last, text)
}

// tail returns the last lines, whole, as many as fit.
func (l *childLog) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	first, size := len(l.last), 0
	for first > 0 && size+len(l.last[first-1]) < tailBytes {
		first--
		size += len(l.last[first]) + 1
	}
	return strings.Join(l.last[first:], "\n")
}
