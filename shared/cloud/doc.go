// Package cloud puts Peerless together as it runs in functions: from a typed Config, which the functions' mains read from their environment,
// to the platform that answers HTTP and takes messages.
//
// Stage "local" is for `sam local`: the ledger lies in the memory of the function's container, the contracts are linked in beside it, and requests
// are believed as `peerless dev` believes them. Every other stage is of AWS alone: the ledger and what the platform keeps in DynamoDB, each contract
// in its own function, keys required.
package cloud
