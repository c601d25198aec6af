// Command probe is the probe chaincode as a function.
package main

import (
	"log"

	"peerless/contracts/probe/chaincode"
	"peerless/shared/adapter"
)

func main() { log.Fatal(adapter.Start(chaincode.New())) }
