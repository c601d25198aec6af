//go:build aws

package main

import "peerless/shared/cloud"

// contracts are none: each runs in its own function. The contract API calls methods by their names, so a program that links it keeps every
// method of every AWS client: 28 MB in place of 19.
var contracts cloud.Contracts
