// Command contract is a chaincode for tests of the process host: it does on demand what a contract should not do.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
)

func main() {
	if reason := os.Getenv("FAIL_AT_START"); reason != "" {
		fmt.Fprintln(os.Stderr, "cannot start:", reason)
		os.Exit(3)
	}
	if err := start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func start() error {
	address := os.Getenv("CHAINCODE_SERVER_ADDRESS")
	if address == "" {
		return shim.Start(contract{})
	}
	server := shim.ChaincodeServer{
		CCID:     os.Getenv("CHAINCODE_ID"),
		Address:  address,
		CC:       contract{},
		TLSProps: shim.TLSProperties{Disabled: os.Getenv("CHAINCODE_TLS_DISABLED") == "true"},
	}
	return server.Start()
}

type contract struct{}

func (contract) Init(shim.ChaincodeStubInterface) *peer.Response { return shim.Success(nil) }

func (contract) Invoke(stub shim.ChaincodeStubInterface) *peer.Response {
	function, args := stub.GetFunctionAndParameters()
	switch function {
	case "put":
		return respond(nil, stub.PutState(args[0], []byte(args[1])))
	case "get":
		value, err := stub.GetState(args[0])
		return respond(value, err)
	case "echo":
		return shim.Success([]byte(args[0]))
	case "pid":
		return shim.Success([]byte(strconv.Itoa(os.Getpid())))
	case "environment":
		return shim.Success([]byte(strings.Join(os.Environ(), "\n")))
	case "crash":
		fmt.Fprintln(os.Stderr, "boom:", args[0])
		os.Exit(2)
	case "hang":
		fmt.Fprintln(os.Stderr, "hanging")
		select {}
	case "flood":
		return flood(args[0])
	case "offspring":
		cmd := exec.Command("sleep", "1000")
		if err := cmd.Start(); err != nil {
			return shim.Error(err.Error())
		}
		return shim.Success([]byte(strconv.Itoa(cmd.Process.Pid)))
	}
	return shim.Error("unknown function " + function)
}

// flood writes so many lines, and one of a megabyte.
func flood(count string) *peer.Response {
	n, err := strconv.Atoi(count)
	if err != nil {
		return shim.Error(err.Error())
	}
	fmt.Println("long " + strings.Repeat("x", 1<<20))
	line := strings.Repeat("flood ", 30)
	for i := range n {
		fmt.Println(i, line)
	}
	return shim.Success(nil)
}

func respond(payload []byte, err error) *peer.Response {
	if err != nil {
		return shim.Error(err.Error())
	}
	return shim.Success(payload)
}
