package remote

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// A Server is a running peerless serve.
type Server struct {
	URL      string            // of its HTTP API
	Key      string            // the operator's, if the server has just made it
	Gateways map[string]string // addresses, by MSP id; "" is that of whichever the client asks for

	process *exec.Cmd
	ended   chan error
}

// stopTime is how long a server may take to end.
const stopTime = 60 * time.Second

// Serve starts a program with the arguments of peerless serve, and returns when it listens. Its log goes to errors.
func Serve(ctx context.Context, program string, log io.Writer, args ...string) (*Server, error) {
	s := &Server{process: exec.Command(program, append([]string{"serve", "--json"}, args...)...), ended: make(chan error, 1), Gateways: map[string]string{}}
	s.process.Stderr = log
	s.process.Env = os.Environ()
	out, err := s.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.process.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	listening := make(chan error, 1)
	go func() {
		listening <- s.await(out)
		_, _ = io.Copy(io.Discard, out)
		s.ended <- s.process.Wait()
	}()
	select {
	case err = <-listening:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		_ = s.process.Process.Kill()
		return nil, errors.Join(fmt.Errorf("start %s: %w", program, err), <-s.ended)
	}
	return s, nil
}

// await reads what the server says until it listens.
func (s *Server) await(out io.Reader) error {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var event struct {
			Event    string `json:"event"`
			URL      string `json:"url"`
			Key      string `json:"key"`
			Gateways []struct {
				Organization string `json:"organization"`
				Address      string `json:"address"`
			} `json:"gateways"`
		}
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			return fmt.Errorf("it says %q: %w", lines.Text(), err)
		}
		if event.Event != "listening" {
			continue
		}
		s.URL, s.Key = event.URL, event.Key
		for _, g := range event.Gateways {
			s.Gateways[g.Organization] = g.Address
		}
		return nil
	}
	return errors.Join(errors.New("it ended before it listened"), lines.Err())
}

// Stop ends the server as an operator does, and returns when it has ended.
func (s *Server) Stop() error {
	if err := s.process.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case err := <-s.ended:
		return err
	case <-time.After(stopTime):
		_ = s.process.Process.Kill()
		return errors.Join(fmt.Errorf("the server did not end within %v", stopTime), <-s.ended)
	}
}
