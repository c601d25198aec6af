// Package adapter makes a contract a Lambda function: it takes invocations (package invocation), runs each proposal on the contract
// as a peer would, over the committed state and next to the contract, and answers with what came of it.
//
// There are two forms. Linked, for a Go contract: a main that calls Start with it. Wrapped, for any chaincode program as it is:
// functions/adapter is the function's bootstrap, or a layer's, and StartProgram runs the program as its child.
//
// # Trust
//
// A function is its tenant's. It belongs to one chaincode of one channel, refuses proposals for any other, and keeps nothing
// between invocations but what the contract itself keeps. It has no permission of its own: the state is read with credentials
// that come with each invocation, may read this chaincode's namespace on this channel, and may write nothing. A contract that takes
// them out of the process's memory has what it could have asked for anyway. Private data is not among it: the platform reads and
// writes that for the contract, which runs again with each answer. What it answers changes nothing outside its own
// namespace: the gateway checks that.
//
// # Limits
//
// An answer over Lambda's payload limit is an error of that proposal, TOO_LARGE. A contract that does not answer in its time cannot
// be stopped from within: the function reports it and ends, and Lambda starts a new one.
package adapter
