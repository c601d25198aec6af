package lambda

import "google.golang.org/protobuf/encoding/protowire"

// maxEntries is how many reads, writes and the like a function's read-write set may have. An empty one takes two bytes on the way,
// and a hundred in memory.
const maxEntries = 200_000

// A field says which length-delimited fields of a message are themselves messages with repeated ones.
type field map[protowire.Number]field

// countedFields are those of a rwset.TxReadWriteSet: namespaces; of each its kvrwset.KVRWSet; of that reads, range queries with
// their rows or hashes, writes, and metadata with its entries; and collections.
var countedFields = field{2: {
	2: {1: nil, 2: {4: {1: nil}, 5: {3: nil}}, 3: nil, 4: {2: nil}},
	3: nil,
}}

// countEntries counts the counted fields of a message, the messages within them too. It allocates nothing. What is malformed ends
// it: whoever parses it says so.
func countEntries(message []byte, counted field) int {
	n := 0
	for len(message) > 0 {
		number, kind, length := protowire.ConsumeTag(message)
		if length < 0 {
			return n
		}
		message = message[length:]
		if kind != protowire.BytesType {
			if length = protowire.ConsumeFieldValue(number, kind, message); length < 0 {
				return n
			}
			message = message[length:]
			continue
		}
		value, length := protowire.ConsumeBytes(message)
		if length < 0 {
			return n
		}
		message = message[length:]
		if within, ok := counted[number]; ok {
			n += 1 + countEntries(value, within)
		}
	}
	return n
}
