package invocation

import (
	"cmp"
	"slices"
	"unicode/utf8"

	"peerless/shared/ledger"
)

// FormatLayers returns what is laid over a namespace, as it goes to a function.
func FormatLayers(namespace string, layers []ledger.Layer) []Layer {
	var formatted []Layer
	for _, l := range layers {
		f := Layer{Block: l.Block}
		for _, w := range l.Writes {
			write := Write{Key: w.Key}
			if w.Item != nil {
				write.Value, write.Metadata, write.Tx = w.Item.Value, w.Item.Metadata, w.Item.Version.Tx
			}
			if w.Namespace == namespace {
				f.Writes = append(f.Writes, write)
			} else {
				write.Namespace = w.Namespace
				if !utf8.ValidString(w.Key) {
					write.Key, write.Binary = "", []byte(w.Key)
				}
				f.Indexes = append(f.Indexes, write)
			}
		}
		for _, c := range l.History {
			f.History = append(f.History, Change{Key: c.Key, Value: c.Value, TxID: c.TxID, Tx: c.Version.Tx, Timestamp: c.Timestamp})
		}
		formatted = append(formatted, f)
	}
	return formatted
}

// ParseLayers is the reverse of FormatLayers, for a namespace.
func ParseLayers(namespace string, layers []Layer) []ledger.Layer {
	var parsed []ledger.Layer
	for _, l := range layers {
		p := ledger.Layer{Block: l.Block}
		for _, w := range slices.Concat(l.Writes, l.Indexes) {
			write := ledger.Write{Namespace: cmp.Or(w.Namespace, namespace), Key: cmp.Or(string(w.Binary), w.Key)}
			if len(w.Value) > 0 {
				write.Item = &ledger.Item{Value: w.Value, Metadata: w.Metadata, Version: ledger.Version{Block: l.Block, Tx: w.Tx}}
			}
			p.Writes = append(p.Writes, write)
		}
		for _, c := range l.History {
			p.History = append(p.History, ledger.Change{
				Namespace: namespace, Key: c.Key, Version: ledger.Version{Block: l.Block, Tx: c.Tx}, TxID: c.TxID, Timestamp: c.Timestamp,
				Value: c.Value, IsDelete: len(c.Value) == 0,
			})
		}
		parsed = append(parsed, p)
	}
	return parsed
}
