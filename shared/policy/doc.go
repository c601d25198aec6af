// Package policy reads, writes and evaluates Fabric's signature policies: who must have signed.
//
// The language is that of Fabric's command line (common/policydsl), the messages it makes are equal byte for byte, and
// evaluation is that of common/cauthdsl, greedy as it is. Policies that refer to others by name are in package
// channelconfig.
package policy
