package chaincode

import (
	"net"
	"os"
	"syscall"
)

// There are no process groups and no signals: a program is ended alone and at once.

func groupAttributes() *syscall.SysProcAttr { return nil }

func signalGroup(p *os.Process, _ syscall.Signal) error { return p.Kill() }

func awaitExit(int) bool { return false }

func verifyPeer(net.Conn, int) error { return nil }
