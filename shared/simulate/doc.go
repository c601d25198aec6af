// Package simulate is one transaction's view of a channel's state, and the read-write set that it leaves.
//
// A Tx reads the committed state through a ledger.View and records every read with its version and every write; nothing
// of what it writes can be read back. Its results are those of Fabric's simulator (core/ledger/kvledger/txmgmt), byte for
// byte: sorted namespaces and keys, range queries with what they saw. testdata/conformance proves it.
//
// Private values are read through a Collection, which opens what is sealed. What is written to collections leaves hashes in the
// results, and the values in a set apart.
//
// Left out: rich queries.
package simulate
