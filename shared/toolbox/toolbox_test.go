package toolbox

import (
	"errors"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestStop ends a program that does not listen, and its child, which the shell leaves behind.
func TestStop(t *testing.T) {
	t.Parallel()
	var p *Program
	t.Run("program", func(t *testing.T) {
		cmd := exec.Command("/bin/sh", "-c", "sleep 300 & echo started; wait")
		p = Start(t, cmd, nil)
	})
	// The child is ended, and there until process 1 has seen it.
	deadline := time.Now().Add(10 * time.Second)
	for err := error(nil); !errors.Is(err, syscall.ESRCH); time.Sleep(time.Millisecond) {
		if err = syscall.Kill(-p.Process.Pid, 0); time.Now().After(deadline) {
			t.Fatalf("after the test its program's group is there: %v", err)
		}
	}
}

func TestOutput(t *testing.T) {
	t.Parallel()
	p := Start(t, exec.Command("/bin/sh", "-c", "echo hello; exec sleep 300"), nil)
	for !strings.Contains(p.Output(), "hello") {
		select {
		case <-p.Done():
			t.Fatal("it ended")
		default:
		}
	}
}
