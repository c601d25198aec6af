// Package collection is what a private data collection is: how it is written down, what is wrong with one, and who its members
// are. The messages and the JSON are Fabric's (internal/peer/chaincode, core/chaincode/lifecycle), and so are the verdicts on
// them; a field that Fabric does not know is refused, since what is misspelled may be what keeps data private.
package collection
