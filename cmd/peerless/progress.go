package main

import (
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress shows on a terminal how much of r has been read. done ends the display. In a pipe, nothing is shown.
func (a *app) progress(r io.Reader, size int64, what string) (body io.Reader, done func()) {
	if a.json || !isTerminal(a.err) {
		return r, func() {}
	}
	bar := a.bar(size, what, true)
	reader := progressbar.NewReader(r, bar)
	return &reader, func() { bar.Finish() }
}

// counter shows on a terminal how far long work is: it is called with what is done and the total, from one goroutine.
func (a *app) counter(what string) (update func(done, total uint64), end func()) {
	if a.json || !isTerminal(a.err) {
		return func(uint64, uint64) {}, func() {}
	}
	var bar *progressbar.ProgressBar
	update = func(done, total uint64) {
		if bar == nil {
			bar = a.bar(int64(total), what, false)
		}
		bar.Set64(int64(done))
	}
	return update, func() {
		if bar != nil {
			bar.Finish()
		}
	}
}

func (a *app) bar(total int64, what string, bytes bool) *progressbar.ProgressBar {
	return progressbar.NewOptions64(total,
		progressbar.OptionSetDescription(what),
		progressbar.OptionSetWriter(a.err),
		progressbar.OptionShowBytes(bytes),
		progressbar.OptionShowCount(),
		progressbar.OptionSetWidth(30),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
	)
}
