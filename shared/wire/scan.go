package wire

import "google.golang.org/protobuf/encoding/protowire"

// scan calls each with the number and the bytes of every length-delimited field of a message, without copying, and
// reports whether the whole of it is well formed. Like proto.Unmarshal it passes over fields of other wire types. It is
// for Fabric's wrappers, of which one lies in the other: unmarshalling them copies a transaction six times.
func scan(raw []byte, each func(field protowire.Number, value []byte) bool) bool {
	for len(raw) > 0 {
		field, kind, n := protowire.ConsumeTag(raw)
		if n < 0 || field > protowire.MaxValidNumber {
			return false
		}
		raw = raw[n:]
		if kind != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(field, kind, raw); n < 0 {
				return false
			}
			raw = raw[n:]
			continue
		}
		value, n := protowire.ConsumeBytes(raw)
		if n < 0 || !each(field, value) {
			return false
		}
		raw = raw[n:]
	}
	return true
}

// pair reads a message whose fields 1 and 2 are bytes. Of a field that comes twice the last counts.
func pair(raw []byte) (first, second []byte, ok bool) {
	ok = pairInto(raw, &first, &second)
	return first, second, ok
}

// pairInto is pair for a message that may come in several parts, as one does that stands twice in another: a field of a
// later part replaces that of an earlier one.
func pairInto(raw []byte, first, second *[]byte) bool {
	return scan(raw, func(field protowire.Number, value []byte) bool {
		switch field {
		case 1:
			*first = value
		case 2:
			*second = value
		}
		return true
	})
}
