package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// defaultURL is where peerless dev and peerless serve answer if nothing else is said.
const defaultURL = "http://127.0.0.1:8080"

// server says which platform a command talks to, and with which key. With a stack and no URL, the stack's outputs have the URL.
type server struct {
	URL, Key, Stack string
}

// addTo adds the flags that choose a server.
func (s *server) addTo(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.URL, "url", "", "the server (default: PEERLESS_URL, else the configuration file, else "+defaultURL+")")
	cmd.Flags().StringVar(&s.Stack, "stack", "", "the CloudFormation stack of a platform on AWS, in its place (default: PEERLESS_STACK, else the configuration file)")
	cmd.Flags().StringVar(&s.Key, "key", "", "the API key (default: PEERLESS_KEY, else the configuration file)")
}

// complete fills what the flags left open from the environment, and then from the configuration file.
func (s *server) complete(getenv func(string) string) error {
	// URL and stack are chosen together: a flag for the one is not mixed with the environment's other.
	if s.URL == "" && s.Stack == "" {
		s.URL, s.Stack = getenv("PEERLESS_URL"), getenv("PEERLESS_STACK")
	}
	if s.Key == "" {
		s.Key = getenv("PEERLESS_KEY")
	}
	chosen := s.URL != "" || s.Stack != ""
	if !chosen || s.Key == "" {
		file, err := readConfig(getenv)
		if err != nil {
			return err
		}
		// A key belongs to its server: the file's is not sent to another one.
		if s.Key == "" && (!chosen || s.URL == file.URL && s.Stack == file.Stack) {
			s.Key = file.Key
		}
		if !chosen {
			s.URL, s.Stack = file.URL, file.Stack
		}
	}
	if s.URL == "" && s.Stack == "" {
		s.URL = defaultURL
	}
	return nil
}

// named reports whether a flag, the environment or the configuration file names a server.
func (s *server) named(getenv func(string) string) (bool, error) {
	if s.URL != "" || s.Stack != "" || getenv("PEERLESS_URL") != "" || getenv("PEERLESS_STACK") != "" {
		return true, nil
	}
	file, err := readConfig(getenv)
	return file.URL != "" || file.Stack != "", err
}

// readConfig reads the configuration file, if there is one.
func readConfig(getenv func(string) string) (server, error) {
	path := getenv("PEERLESS_CONFIG")
	chosen := path != ""
	if !chosen {
		base := getenv("XDG_CONFIG_HOME")
		if base == "" {
			home := getenv("HOME")
			if home == "" {
				return server{}, nil
			}
			base = filepath.Join(home, ".config")
		}
		path = filepath.Join(base, "peerless", "config")
	}
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && !chosen {
		return server{}, nil
	}
	if err != nil {
		return server{}, fmt.Errorf("read the configuration file: %w", err)
	}
	s, err := parseConfig(raw)
	if err != nil {
		return server{}, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// parseConfig reads lines such as url = "http://127.0.0.1:8080", quoted or not. Empty lines and those that begin with #
// do not count.
func parseConfig(raw []byte) (server, error) {
	var s server
	lines := bufio.NewScanner(bytes.NewReader(raw))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if len(value) >= 2 && (value[0] == '"' || value[0] == '\'') && value[len(value)-1] == value[0] {
			value = value[1 : len(value)-1]
		}
		switch {
		case !ok:
			return server{}, fmt.Errorf("line %d: want name = value", n)
		case name == "url":
			s.URL = value
		case name == "key":
			s.Key = value
		case name == "stack":
			s.Stack = value
		default:
			return server{}, fmt.Errorf("line %d: unknown name %q: there are url, stack and key", n, name)
		}
	}
	return s, lines.Err()
}
