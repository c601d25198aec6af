// Package invocation is what the gateway and a contract's function say to each other: the payloads of a Lambda invocation, in
// JSON, and what they mean. Both sides are built at different times, so the format has a version.
//
// A request has a batch of proposals of one chaincode of one channel, says where the function reads the committed state, and
// with which credentials, and gives each proposal what the store does not show yet. The answer has one result for each
// proposal: the contract's response, its event, and what it read and wrote in its own namespace; or the call of another chaincode
// that it cannot go on without; or an error.
//
// # Versions
//
// A version is a promise about both payloads. What is added within one must be ignored by those who do not know it, in either
// direction; anything else is a new version. A gateway sends the newest version that both speak: it begins with its own newest, and
// a function that does not know it says which it knows. So an old function works with a newer gateway as long as that still
// speaks the function's version, and a refusal says which side has to be built anew. testdata holds each version's payloads,
// which never change.
//
// # Calls
//
// A contract that calls another chaincode ends its execution with a Call that has no answer yet. The platform runs the callee,
// with all the checks that it makes for any caller, and invokes the function again with the answers so far; the contract runs
// from its beginning and finds its calls answered, in order. A call that is not the one that was answered is an error: Diverged
// if the contract read the same as before, and so cannot be repeated; Stale if the state has changed.
//
// # Private data
//
// From version 2 on, what a contract asks of its collections is a Call too: a message of Fabric's chaincode protocol, which the
// platform answers as it does one from a chaincode beside it. So the function is given no key, and nothing of a collection but
// what the contract asked for and the transaction's creator may read at the endorser; and nothing that it says of private data is
// believed: the platform reads the hashes, and makes those of what is written. A write does not end the execution: it is taken to go
// well, and goes along with the next call that does, or with the response. Did it not go well, the contract runs again with its
// error.
package invocation
