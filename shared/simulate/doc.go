// Package simulate is one transaction's view of a channel's state, and the read-write set that it leaves.
//
// A Tx reads the committed state through a ledger.View and records every read with its version and every write; nothing
// of what it writes can be read back. Its results are those of Fabric's simulator (core/ledger/kvledger/txmgmt), byte for
// byte: sorted namespaces and keys, range queries with what they saw. testdata/conformance proves it.
//
// Left out: private data and rich queries.
package simulate
