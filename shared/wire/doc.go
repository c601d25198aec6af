// Package wire builds, takes apart and hashes the messages of Hyperledger Fabric: proposals, endorsements, transactions,
// read-write sets and blocks.
//
// The messages are those of fabric-protos-go-apiv2; what this package adds is the bytes that are hashed and signed, equal
// to Fabric's own (the tests compare them with messages and blocks of a real network), and the checks that Fabric makes
// before it trusts a message's form. It is pure: no clock, no keys, no I/O. Whoever signed a message is for package msp
// to say. No function panics on what it is given to parse.
package wire
