package chaincode

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The program ends with the server, even if that is killed.
func TestProcessDiesWithTheServer(t *testing.T) {
	if os.Getenv("PEERLESS_TEST_SERVER") != "" {
		p := startProcess(t, "contract", nil)
		fmt.Println("pid", mustCall(t, p, "pid"))
		select {}
	}
	t.Parallel()
	server := exec.Command(os.Args[0], "-test.run=^TestProcessDiesWithTheServer$")
	server.Env = append(os.Environ(), "PEERLESS_TEST_SERVER=1", "TMPDIR="+t.TempDir())
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	var pid string
	for lines := bufio.NewScanner(out); pid == "" && lines.Scan(); {
		pid, _ = strings.CutPrefix(lines.Text(), "pid ")
	}
	if err := server.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = server.Wait() // killed
	if pid == "" || !gone(t, pid) {
		t.Errorf("process %q lives", pid)
	}
}

func TestProcessVerifiesWhoDials(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "peerless-") // the names of test directories are too long for a socket's
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "peer.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	dialled, err := net.DialTimeout("unix", path, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer dialled.Close()
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := verifyPeer(conn, syscall.Getpgrp()); err != nil {
		t.Errorf("our own group: %v", err)
	}
	if err := verifyPeer(conn, 1); err == nil {
		t.Error("another group's program is let in")
	}
}
