package gateway

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"peerless/shared/policy"
	"peerless/shared/wire"
)

// What is shown of a difference at most: characters of one value, and places that differ.
const (
	shownValue  = 80
	shownPlaces = 8
)

// difference says in what two organisations' simulations differ: "PLACE: … by Org1MSP, … by Org2MSP; …". Of private data a read-write
// set has hashes, and only they are shown.
func difference(left, right *simulation) string {
	d := &differences{a: left.mspID, b: right.mspID}
	if !proto.Equal(left.response, right.response) {
		d.add("response", showResponse(left.response, right.response), showResponse(right.response, left.response))
	}
	if !proto.Equal(left.event, right.event) {
		d.add("event", showEvent(left.event, right.event), showEvent(right.event, left.event))
	}
	sets := byName(left.rwset, right.rwset)
	for _, name := range slices.Sorted(maps.Keys(sets)) {
		l, r := sets[name][0], sets[name][1]
		d.public("namespace "+name+", ", l.KV, r.KV)
		collections := make(map[string][2]wire.CollectionSet)
		for side, ns := range sets[name] {
			for _, c := range ns.Collections {
				pair := collections[c.Name]
				pair[side] = c
				collections[c.Name] = pair
			}
		}
		for _, collection := range slices.Sorted(maps.Keys(collections)) {
			d.private(fmt.Sprintf("namespace %s, collection %s, ", name, collection), collections[collection][0].Hashed, collections[collection][1].Hashed)
		}
	}
	if left.version != right.version {
		d.add("version of the chaincode", strconv.Quote(left.version), strconv.Quote(right.version))
	}
	if more := len(d.found) - shownPlaces; more > 0 {
		d.found = append(d.found[:shownPlaces], fmt.Sprintf("and in %d more places", more))
	}
	return strings.Join(d.found, "; ")
}

// byName pairs the namespaces of two sets.
func byName(left, right *wire.RWSet) map[string][2]wire.NamespaceSet {
	pairs := make(map[string][2]wire.NamespaceSet)
	for side, set := range []*wire.RWSet{left, right} {
		if set == nil {
			continue
		}
		for _, ns := range set.Namespaces {
			pair := pairs[ns.Namespace]
			pair[side] = ns
			pairs[ns.Namespace] = pair
		}
	}
	return pairs
}

type differences struct {
	a, b  string // whose
	found []string
}

func (d *differences) add(place, left, right string) {
	d.found = append(d.found, fmt.Sprintf("%s: %s by %s, %s by %s", place, left, d.a, right, d.b))
}

// public compares what was read and written of a namespace.
func (d *differences) public(place string, left, right *kvrwset.KVRWSet) {
	unequal(left.GetReads(), right.GetReads(), (*kvrwset.KVRead).GetKey, func(key string, l, r *kvrwset.KVRead) {
		d.add(fmt.Sprintf("%skey %q", place, key), showRead(l != nil, l.GetVersion()), showRead(r != nil, r.GetVersion()))
	})
	bounds := func(q *kvrwset.RangeQueryInfo) string { return fmt.Sprintf("%q to %q", q.GetStartKey(), q.GetEndKey()) }
	unequal(left.GetRangeQueriesInfo(), right.GetRangeQueriesInfo(), bounds, func(key string, l, r *kvrwset.RangeQueryInfo) {
		d.add(place+"range "+key, showRange(l), showRange(r))
	})
	unequal(left.GetWrites(), right.GetWrites(), (*kvrwset.KVWrite).GetKey, func(key string, l, r *kvrwset.KVWrite) {
		d.add(fmt.Sprintf("%skey %q", place, key), showWrite(l, r), showWrite(r, l))
	})
	unequal(left.GetMetadataWrites(), right.GetMetadataWrites(), (*kvrwset.KVMetadataWrite).GetKey, func(key string, l, r *kvrwset.KVMetadataWrite) {
		d.add(fmt.Sprintf("%smetadata of key %q", place, key), showMetadata(l != nil, l.GetEntries()), showMetadata(r != nil, r.GetEntries()))
	})
}

// private compares what was read and written of a collection.
func (d *differences) private(place string, left, right *kvrwset.HashedRWSet) {
	place += "key with hash "
	unequal(left.GetHashedReads(), right.GetHashedReads(), func(r *kvrwset.KVReadHash) string { return shortHash(r.GetKeyHash()) }, func(key string, l, r *kvrwset.KVReadHash) {
		d.add(place+key, showRead(l != nil, l.GetVersion()), showRead(r != nil, r.GetVersion()))
	})
	unequal(left.GetHashedWrites(), right.GetHashedWrites(), func(w *kvrwset.KVWriteHash) string { return shortHash(w.GetKeyHash()) }, func(key string, l, r *kvrwset.KVWriteHash) {
		d.add(place+key, showHashedWrite(l), showHashedWrite(r))
	})
	unequal(left.GetMetadataWrites(), right.GetMetadataWrites(), func(m *kvrwset.KVMetadataWriteHash) string { return shortHash(m.GetKeyHash()) }, func(key string, l, r *kvrwset.KVMetadataWriteHash) {
		d.add(place+key+", metadata", showMetadata(l != nil, l.GetEntries()), showMetadata(r != nil, r.GetEntries()))
	})
}

// unequal calls f for each key, sorted, of which two lists have different entries; one that is absent is nil.
func unequal[T interface {
	comparable
	proto.Message
}](left, right []T, key func(T) string, f func(key string, l, r T)) {
	pairs := make(map[string][2]T)
	for side, list := range [][]T{left, right} {
		for _, entry := range list {
			pair := pairs[key(entry)]
			pair[side] = entry
			pairs[key(entry)] = pair
		}
	}
	var absent T
	for _, k := range slices.Sorted(maps.Keys(pairs)) {
		if l, r := pairs[k][0], pairs[k][1]; l == absent || r == absent || !proto.Equal(l, r) {
			f(k, l, r)
		}
	}
}

func showResponse(r, other *peer.Response) string {
	text := fmt.Sprintf("status %d", r.GetStatus())
	if r.GetMessage() != other.GetMessage() {
		text += fmt.Sprintf(" %q", shorten(r.GetMessage(), 0))
	}
	return text + ", payload " + showValue(r.GetPayload(), other.GetPayload())
}

func showEvent(e, other *peer.ChaincodeEvent) string {
	if e == nil {
		return "none"
	}
	return fmt.Sprintf("%q with %s", e.EventName, showValue(e.Payload, other.GetPayload()))
}

func showRead(is bool, v *kvrwset.Version) string {
	switch {
	case !is:
		return "not read"
	case v == nil:
		return "read as absent"
	}
	return fmt.Sprintf("read as of block %d, transaction %d", v.BlockNum, v.TxNum)
}

func showRange(q *kvrwset.RangeQueryInfo) string {
	if q == nil {
		return "not read"
	}
	if q.GetReadsMerkleHashes() != nil {
		return "read with the hash " + shortHash(slices.Concat(q.GetReadsMerkleHashes().GetMaxLevelHashes()...))
	}
	rows := make([]string, len(q.GetRawReads().GetKvReads()))
	for i, read := range q.GetRawReads().GetKvReads() {
		rows[i] = fmt.Sprintf("%q of block %d", read.Key, read.GetVersion().GetBlockNum())
	}
	return fmt.Sprintf("read with %d rows [%s]", len(rows), shorten(strings.Join(rows, ", "), 0))
}

func showWrite(w, other *kvrwset.KVWrite) string {
	switch {
	case w == nil:
		return "not written"
	case w.IsDelete:
		return "deleted"
	}
	return "written " + showValue(w.Value, other.GetValue())
}

func showHashedWrite(w *kvrwset.KVWriteHash) string {
	switch {
	case w == nil:
		return "not written"
	case w.IsPurge:
		return "purged"
	case w.IsDelete:
		return "deleted"
	}
	return "written with the value's hash " + shortHash(w.ValueHash)
}

// showMetadata shows what is written beside a value: mostly the key's endorsement policy.
func showMetadata(is bool, entries []*kvrwset.KVMetadataEntry) string {
	if !is {
		return "not written"
	}
	if len(entries) == 0 {
		return "removed"
	}
	var all []string
	for _, entry := range entries {
		var envelope common.SignaturePolicyEnvelope
		if entry.Name == peer.MetaDataKeys_VALIDATION_PARAMETER.String() && proto.Unmarshal(entry.Value, &envelope) == nil {
			all = append(all, "written "+policy.Format(&envelope))
		} else {
			all = append(all, fmt.Sprintf("written %s=%s", entry.Name, showValue(entry.Value, nil)))
		}
	}
	return strings.Join(all, ", ")
}

// showValue shows a value: JSON compactly, other text quoted, anything else in hex. What is long is cut, so that the place where it
// parts from the other value is seen.
func showValue(value, other []byte) string {
	if len(value) == 0 {
		return "nothing"
	}
	text, against := textOf(value), textOf(other)
	same := 0
	for same < len(text) && same < len(against) && text[same] == against[same] {
		same++
	}
	if shown := shorten(text, same); shown != text {
		return fmt.Sprintf("%s (%d bytes)", shown, len(value))
	}
	return text
}

func textOf(value []byte) string {
	var compact bytes.Buffer
	switch {
	case json.Compact(&compact, value) == nil:
		return compact.String()
	case utf8.Valid(value) && !bytes.ContainsRune(value, 0):
		return strconv.Quote(string(value))
	}
	return "0x" + hex.EncodeToString(value)
}

// shorten cuts a text that is too long so that the position is still seen.
func shorten(text string, position int) string {
	if len(text) <= shownValue {
		return text
	}
	start := max(0, min(position-shownValue/4, len(text)-shownValue))
	cut := strings.ToValidUTF8(text[start:min(start+shownValue, len(text))], "")
	if start > 0 {
		cut = "…" + cut
	}
	if start+shownValue < len(text) {
		cut += "…"
	}
	return cut
}

// shortHash is the beginning of a hash.
func shortHash(hash []byte) string { return hex.EncodeToString(hash[:min(8, len(hash))]) }
