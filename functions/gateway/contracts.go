//go:build !aws

package main

import (
	"github.com/hyperledger/fabric-chaincode-go/v2/shim"

	assettransfer "peerless/contracts/assettransfer/chaincode"
	probe "peerless/contracts/probe/chaincode"
	"peerless/shared/cloud"
)

// contracts run in stage local.
var contracts = cloud.Contracts{
	"assettransfer": func() (shim.Chaincode, error) { return assettransfer.New() },
	"probe":         func() (shim.Chaincode, error) { return probe.New(), nil },
}
