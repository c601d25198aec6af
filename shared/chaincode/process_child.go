package chaincode

import (
	"fmt"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// outputDelay is how long a program's output is read on after its end, while something it started keeps it open.
const outputDelay = 500 * time.Millisecond

// A child is a running program, the leader of its own process group.
type child struct {
	cmd    *exec.Cmd
	log    *childLog
	exited chan struct{} // closed when it has ended and all its output has been read

	mu     sync.Mutex
	reaped bool // its process id may belong to somebody else
}

// startChild starts a program. It gets no input, and nothing of this process's environment.
func startChild(path string, args []string, dir string, env []string, log *childLog) (*child, error) {
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	cmd.Env = env
	cmd.Stdout = log
	cmd.Stderr = log
	cmd.WaitDelay = outputDelay
	cmd.SysProcAttr = groupAttributes()
	c := &child{cmd: cmd, log: log, exited: make(chan struct{})}
	started := make(chan error)
	go c.live(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start the program: %w", err)
	}
	return c, nil
}

// live starts the program and stays with it to its end. On Linux the signal that ends a child with its parent comes when
// the thread ends that started it, so that thread is kept.
func (c *child) live(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer c.log.close()
	err := c.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	defer close(c.exited)
	if awaitExit(c.cmd.Process.Pid) {
		c.mu.Lock()
		_ = signalGroup(c.cmd.Process, syscall.SIGKILL) // what it leaves behind; there may be nothing
		c.reaped = true
		c.mu.Unlock()
	}
	_ = c.cmd.Wait() // ProcessState tells
	c.mu.Lock()
	c.reaped = true
	c.mu.Unlock()
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// stop ends the program and its group, in good part if it ends within grace, and returns when it has exited.
func (c *child) stop(grace time.Duration) {
	c.signal(syscall.SIGTERM)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-c.exited:
		return
	case <-timer.C:
	}
	c.signal(syscall.SIGKILL)
	<-c.exited
}

func (c *child) signal(sig syscall.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.reaped {
		_ = signalGroup(c.cmd.Process, sig) // it may just have ended
	}
}

// describe says how the program ended and what it last said. It must have exited.
func (c *child) describe() error {
	return fmt.Errorf("the program ended, %s%s", c.cmd.ProcessState, c.lastWords())
}

func (c *child) lastWords() string {
	if tail := c.log.tail(); tail != "" {
		return "; its last output:\n" + tail
	}
	return ""
}
