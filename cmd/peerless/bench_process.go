package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// A benchServer is a server in a process of its own.
type benchServer struct {
	benchReady
	data         string
	acknowledged int           // transactions of the measured channel, by what the clients were told
	started      time.Time     // the process
	startup      time.Duration // until it was ready

	process *exec.Cmd
	orders  io.WriteCloser
	answers *bufio.Scanner
}

// start starts a server and returns when it is ready.
func (b *bench) start(ctx context.Context, config benchServerConfig) (*benchServer, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	b.servers++
	args := []string{"bench", "server", "--data", config.data, "--preload", strconv.Itoa(config.preload), "--program", config.program,
		"--query=" + strconv.FormatBool(config.query)}
	for flag, path := range map[string]string{"--cpuprofile": b.config.cpuProfile, "--memprofile": b.config.memProfile} {
		if path != "" && b.servers > 1 {
			path += "." + strconv.Itoa(b.servers)
		}
		args = append(args, flag, path)
	}
	s := &benchServer{data: config.data, process: exec.CommandContext(ctx, program, args...), started: time.Now()}
	s.process.Args[0] = os.Args[0]
	s.process.Stderr = b.err
	if s.orders, err = s.process.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start a server: %w", err)
	}
	output, err := s.process.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start a server: %w", err)
	}
	s.answers = bufio.NewScanner(output)
	if err := s.process.Start(); err != nil {
		return nil, fmt.Errorf("start a server: %w", err)
	}
	update, end := b.counter(b.scenario + ", load")
	defer end()
	for s.Address == "" {
		if err := s.answer(&s.benchReady); err != nil {
			return nil, errors.Join(fmt.Errorf("start a server: %w", err), s.kill())
		}
		if s.Loaded > 0 {
			update(uint64(s.Loaded), uint64(config.preload))
		}
	}
	s.startup = time.Since(s.started)
	return s, nil
}

// answer reads a line.
func (s *benchServer) answer(into any) error {
	if !s.answers.Scan() {
		return errors.Join(errors.New("the server ended"), s.answers.Err())
	}
	return json.Unmarshal(s.answers.Bytes(), into)
}

// order has the server do something.
func (s *benchServer) order(words ...string) (benchMemory, error) {
	if _, err := fmt.Fprintln(s.orders, strings.Join(words, " ")); err != nil {
		return benchMemory{}, fmt.Errorf("order %s: %w", words[0], err)
	}
	var answer benchAnswer
	if err := s.answer(&answer); err != nil {
		return benchMemory{}, fmt.Errorf("order %s: %w", words[0], err)
	}
	if answer.Error != "" {
		return benchMemory{}, fmt.Errorf("order %s: %s", words[0], answer.Error)
	}
	return answer.benchMemory, nil
}

// stop ends the server in good order.
func (s *benchServer) stop() error {
	s.orders.Close()
	if err := s.process.Wait(); err != nil {
		return fmt.Errorf("stop the server: %w", err)
	}
	return nil
}

// kill ends the server as a power failure would, but for the disk. It may have ended.
func (s *benchServer) kill() error {
	if err := s.process.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill the server: %w", err)
	}
	var exit *exec.ExitError
	if err := s.process.Wait(); err != nil && !errors.As(err, &exit) {
		return fmt.Errorf("kill the server: %w", err)
	}
	return nil
}
