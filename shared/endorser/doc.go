// Package endorser is an organisation's endorser away from the platform, and the way to it.
//
// An Endorser follows channels from the platform's block events with its own identity, judges every block again as an audit does, and
// keeps what holds in a store of its own. On that state it runs its own packages of contracts, and signs what comes of proposals with
// its own key. So it believes the platform nothing but what is the platform's to say: the order of transactions. From a chain that
// does not hold it takes nothing more, and Run ends.
//
// It has no private values: they are in no block. A contract that reads them fails there, as on a peer of Fabric that has not got them.
//
// A Client is the platform's end: gateway.Remote over gRPC.
package endorser
