// Package pebble is the embedded ledger.Store: one directory on one disk, for `peerless dev` and `peerless serve`.
//
// # Layout
//
//	PEERLESS          the format's name and version
//	LOCK              locked while a process has the store open
//	log/%012d.log     segments of the log: blocks, each with its batch, in the order of Append
//	state/            a Pebble database: what the log says, indexed
//	queue/%012d.log   segments of another log, in the same format: the messages of a queue (Records)
//	private/%012d.log the private log, once there was something private
//	SEAL              the checksum of every file; there only after Close, until the next Open
//
// The log is the truth, and the only thing that is synced: Append writes one record, waits for it to be on disk, and then
// puts its batch into Pebble, which has no log of its own. What a crash takes from Pebble is replayed from the log by
// Open. Appends to several channels at once share a sync. If state/ is lost or damaged it can be deleted: the next Open
// builds it again.
//
// Private values (ledger.Batch.Private) are in no segment of the log, which is for ever, but in the private log until Pebble has them on
// disk, and then in state/ alone: if that is deleted they are lost, and only their hashes are built again.
//
// # Damage
//
// Every record of the log carries CRC-32C checksums, keyed by the segment, of its header and of its compressed payload;
// Pebble checksums every block of its tables. A damaged byte is ledger.ErrDamaged from the call that meets it: Open (the
// end of the log), a read, or Check (everything). After a graceful Close the seal covers every byte of every file.
//
// After a crash the end of the log can hold a record that was never acknowledged, cut short: it is dropped. So that the same is
// not done to an acknowledged record with a damaged byte, each record says up to where the segment was synced when it was
// written, and a mark that says so follows the last one. The mark is not synced itself: what cannot be noticed is damage
// to the very last record after a power failure that took the mark along, and a log whose end was cut off on purpose.
//
// The manifest of Pebble ends, for Pebble, where it cannot be read. Here that costs nothing: state/ is then an older one,
// with an older position in the log, and Open replays more.
//
// # Errors
//
// A full disk fails Append with ErrDiskFull; nothing is half written, and the store goes on when there is space.
// Where that cannot be known (neither the record nor a note that voids it could be written), the reads of the channel that
// could tell wrong fail too, until one of them succeeds in writing the note.
package pebble
