package chaincode

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// groupAttributes make a program the leader of a group, which dies with this process.
func groupAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

func signalGroup(p *os.Process, sig syscall.Signal) error { return syscall.Kill(-p.Pid, sig) }

// awaitExit returns when the program has ended, and true if its id, and so its group's, is still taken.
func awaitExit(pid int) bool {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err == nil
		}
	}
}

// verifyPeer returns an error unless the other end of a unix socket is in the process group of the program.
func verifyPeer(conn net.Conn, pid int) error {
	uc, ok := conn.(*net.UnixConn)
	if !ok {
		return nil
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return fmt.Errorf("look at the socket: %w", err)
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return fmt.Errorf("look at the socket: %w", err)
	}
	if credErr != nil {
		return fmt.Errorf("ask who dialled: %w", credErr)
	}
	group, err := unix.Getpgid(int(cred.Pid))
	if err != nil {
		return fmt.Errorf("ask for the group of process %d: %w", cred.Pid, err)
	}
	if group != pid {
		return fmt.Errorf("process %d is not the program", cred.Pid)
	}
	return nil
}
