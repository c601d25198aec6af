// Package ledger keeps channels: it orders transactions into a hash-chained log of blocks by conditional append, gives each
// Fabric's validation verdict, and derives the state from the chain.
//
// The block is the commit. Whatever happens between appending a block and applying it, the next reader or writer applies
// what is missing first. Stores implement Log and State; package ledgertest is the suite they all pass.
package ledger
