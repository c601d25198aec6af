package pebble_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"peerless/shared/store/pebble"
)

// childDirectory names the directory to which this program, run by a test as a child, appends until it is killed;
// childBlocks the number of blocks after which it waits for that.
const (
	childDirectory = "PEERLESS_TEST_CHILD_DIRECTORY"
	childBlocks    = "PEERLESS_TEST_CHILD_BLOCKS"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDirectory); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child appends to several channels at once, and prints each acknowledged block.
func child(dir string) error {
	limit, err := strconv.ParseUint(os.Getenv(childBlocks), 10, 64)
	if err != nil {
		return err
	}
	s, err := pebble.Open(dir, small)
	if err != nil {
		return err
	}
	for _, c := range flipChains { // what this process found is durable, whether or not the last one could say so
		height, err := s.Height(context.Background(), c.channel)
		if err != nil {
			return err
		}
		fmt.Println(c.channel, height)
	}
	fmt.Println("open")
	var wg sync.WaitGroup
	for _, c := range flipChains {
		wg.Go(func() {
			n, err := s.Height(context.Background(), c.channel)
			for ; err == nil && n < limit; n++ {
				if err = c.append(context.Background(), s, n); err == nil {
					_, err = fmt.Printf("%s %d\n", c.channel, n+1)
				}
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		})
	}
	wg.Wait()
	fmt.Println("full")
	_, err = io.Copy(io.Discard, os.Stdin) // until the parent kills this or dies
	return err
}

// startChild starts the child and calls visit for each line it prints, until the child ends.
func startChild(t *testing.T, dir string, blocks uint64) (cmd *exec.Cmd, lines *bufio.Scanner) {
	t.Helper()
	cmd = exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDirectory+"="+dir, fmt.Sprintf("%s=%d", childBlocks, blocks))
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(out)
}

// killed makes a directory as kill -9 leaves it, with so many blocks of each of flipChains.
func killed(t *testing.T, blocks uint64) string {
	t.Helper()
	dir := t.TempDir()
	cmd, lines := startChild(t, dir, blocks)
	for lines.Scan() && lines.Text() != "full" {
		continue
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the child ended by itself")
	}
	return dir
}

func TestKill(t *testing.T) {
	t.Parallel()
	rounds := 20
	if testing.Short() {
		rounds = 5
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	acknowledged := make(map[string]uint64)
	for round := range rounds {
		cmd, lines := startChild(t, dir, 1<<62)
		var timer *time.Timer
		for lines.Scan() {
			var channel string
			var height uint64
			if lines.Text() == "open" {
				timer = time.AfterFunc(time.Duration(rng.IntN(150_000))*time.Microsecond, func() { _ = cmd.Process.Kill() })
			} else if n, err := fmt.Sscanf(lines.Text(), "%s %d", &channel, &height); n == 2 && err == nil {
				acknowledged[channel] = height
			}
		}
		if err := cmd.Wait(); err == nil || timer == nil {
			t.Fatalf("the child ended by itself: %v", err)
		}
		timer.Stop()

		if round%2 == 0 { // every other time the next child finds what the last one left
			s := open(t, dir, small)
			for _, c := range flipChains {
				if err := c.verify(t.Context(), s, acknowledged[c.channel]); err != nil {
					t.Fatalf("round %d: %v", round, err)
				}
				height, err := s.Height(t.Context(), c.channel)
				if err != nil {
					t.Fatal(err)
				}
				acknowledged[c.channel] = height
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if err := pebble.Check(dir); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	t.Logf("acknowledged: %v", acknowledged)
}
