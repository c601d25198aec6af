// Package dynamodb is a ledger.Store in one DynamoDB table, for many processes that share channels and have no other
// coordinator: to order is to put block n on the condition that there is no block n. No call is a transaction, no index is
// used, and every read is consistent.
//
// # The table
//
// The partition key is pk (a string), the sort key sk (bytes). Channel names hold no '#', which is checked: a partition key is
// taken apart in one way.
//
//	pk                              sk                      what it is                          attributes
//	block#<channel>#<number>        00                      a block: the commit                 b body | b# reference
//	                                01 hash index           a piece of a body over 16 KiB      b
//	inbox#<channel>#<number>        00                      who writes the block, by courtesy   ttl
//	                                01 hash                 a letter: a transaction left for it e, u; ttl
//	head#<channel>                  00                      the savepoint                       n, l
//	channels                        name                    a channel                           –
//	state#<channel>#<namespace>     key 00                  a key's state, or its tombstone     v | v#, m | m#, b, t; ttl
//	                                key[:990] 01 hash       the same of a key over 990 bytes    and k | k#
//	history#<channel>#<namespace>   'h' hash(key) block tx  one change of a key                 v | v#, x id, s time, d
//	                                'v' hash index          a piece of a value over 256 KiB     b
//	tx#<channel>#<id>               00                      where a transaction stands          b, t, c
//	hash#<channel>#<hash>           00                      the number of the block             n
//	staged#<channel>#<id>           00                      a private set until its commit      b | b#; ttl
//	                                01 hash index           a piece of it                       b; ttl
//	unapplied#<channel>#<n>#<hash>  00                      a block's private writes until they b | b#; ttl
//	                                01 hash index           are applied; a piece of them        b; ttl
//
// Numbers in sort keys are big-endian, 8 bytes; an index has 4. A reference is the SHA-256 and the length (8 bytes) of what
// stands in pieces of 384 KiB.
//
// # Limits
//
// An item has at most 400 KB, a sort key 1024 bytes and never none. What is larger than an item is cut in pieces, which are
// named by their hash, written before the item that refers to them, and never change: to write them again is harmless. A
// value's pieces stand among its namespace's history, which keeps them for ever, so that a key's state can share them.
// Keys may be empty, and may have any length: a long key's row stands at its first 990 bytes and its hash, and a range sorts
// those of one beginning after reading all of them. Ranges are in byte order. What holds is DynamoDB's bound on a partition,
// 1000 write and 3000 read units a second for one key, and for all keys of one namespace until DynamoDB has split it.
//
// # Consistency
//
// Append is one conditional PutItem. A body over 16 KiB goes first; the conditional put is the commit, and a loser removes
// its pieces. A process that dies between leaves pieces that nobody refers to, those of one block for a crash. If the condition
// fails the block that is there is read and compared: equal bytes are success, since the SDK's retry can meet its own write.
//
// Apply writes each item on the condition that no later block wrote it, all in parallel, and then the savepoint. It can be
// interrupted anywhere and repeated, and run beside another that applies the same or a later block. A deleted key leaves a
// tombstone with the number of the deleting block, which an Apply of an earlier block cannot overwrite. DynamoDB removes
// tombstones by their TTL, a day after the delete, at no cost: by then no earlier Apply can be under way, because one gives up
// five minutes of wall-clock time after it began, and DynamoDB refuses requests that were signed 15 minutes ago.
//
// Private values are sealed before they come here. They stand among the state, in namespaces of their own; their pieces are
// removed with what refers to them. Those of a block that is about to be appended are written before it, so that whoever applies
// the block has them: 1 call more for Append, and 2 for Apply, of a block with private writes.
//
// A view is not fixed: it shows what is applied after it was opened. Whoever decides on what he read compares it again, or
// appends a block on the condition that nobody else did.
//
// # Cost
//
// In calls one after the other, and in units: a read unit is 4 KB of each item read (all reads are consistent), a write unit
// 1 KB of each item written, at least one for each. A block of t transactions that write w keys:
//
//	Append     1 (2 if the body is over 16 KiB; 1 more the first time for a channel)   the body in KB
//	Apply      2 (3 with values over 256 KiB)                                           2w + t + 3, and what is over 1 KB
//	Position   1 (2 in a fresh process)                                                 2, and each block since last time
//	Block      1 (2 if the body is over 16 KiB)                                        a quarter of the body in KB
//	Get        1 for 100 keys, in parallel beyond                                       1 a key, and what is over 4 KB
//	Range      1 for each MB                                                            a quarter of the KB read
//	History    1 for each MB                                                            a quarter of the KB read
//	Transactions, BlockByHash   1                                                       1 each
//	Channels   1 (2 in a fresh process)                                                 a quarter of the KB
package dynamodb
