// Package receipt proves that a transaction stands in a channel's chain of blocks with the verdict that its submitter was told,
// to somebody who has nothing but the receipt and the platform's public key.
//
// Each channel is a transparency log after RFC 6962, hashed as golang.org/x/mod/sumdb/tlog does. Leaf n is block n; its record is
//
//	the block's header, as the DER that its hash is taken of
//	the number of its transactions, 8 bytes, big-endian
//	the root of the tree over its transactions, 32 bytes
//
// and the tree over a block's transactions, hashed in the same way, has for each the record
//
//	its position in the block, from 0, 8 bytes, big-endian
//	its validation code, 1 byte, as in the block's metadata
//	SHA-256 of its envelope, 32 bytes
//
// The tree within the block is there because the data hash in Fabric's header is flat, so that to prove one transaction by it
// takes all of them, and because nothing that an orderer signs covers the validation codes. The number of transactions is in the
// record because a root alone does not tell the size of its tree.
//
// A checkpoint is the log's size and root in the format c2sp.org/tlog-checkpoint, signed with the platform's Ed25519 key. It
// commits the platform to the whole channel up to there: two checkpoints that do not fit together prove that it was rewritten.
//
// A receipt does not show that the endorsers' signatures are good, or that the verdict is the right one: judging that takes the
// channel's state, and is what an audit does. Everything here is pure.
package receipt
