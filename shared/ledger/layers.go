package ledger

import (
	"slices"
	"strings"
)

// A Layer is what one block does to a namespace, laid over what a store has applied: a block that is in the log and not applied
// yet, or the one being cut.
type Layer struct {
	Block   uint64
	Writes  []Write  // at most one per key, sorted by namespace and key
	History []Change // in block order
}

// IndexNamespaces is what the namespaces of a chaincode's indexes begin with, and no other namespace does.
func IndexNamespaces(chaincode string) string { return chaincode + indexMark }

// Layers returns what a view lays over its store's state of a namespace, the oldest block first: with it a reader that can see
// no more than the store sees what the view shows. The namespaces of its indexes belong to it. Nil if there is nothing.
func Layers(view View, namespace string) []Layer {
	var layers []Layer
	for {
		if recalls, ok := view.(*recalling); ok {
			view = recalls.View
		}
		over, ok := view.(*overlay)
		if !ok {
			slices.Reverse(layers)
			return layers
		}
		if layer := over.updates.layer(namespace); len(layer.Writes) > 0 || len(layer.History) > 0 {
			layers = append(layers, layer)
		}
		view = over.View
	}
}

// layer returns what the updates do to a namespace.
func (u *updates) layer(namespace string) Layer {
	layer := Layer{Block: u.number}
	within := func(up update) bool {
		return up.namespace == namespace || strings.HasPrefix(up.namespace, namespace+indexMark)
	}
	for _, first := range []string{namespace, namespace + indexMark} {
		u.keys.Ascend(update{stateKey: stateKey{namespace: first}}, func(up update) bool {
			if !within(up) || (first == namespace) != (up.namespace == namespace) {
				return false
			}
			layer.Writes = append(layer.Writes, Write{Namespace: up.namespace, Key: up.key, Item: up.item})
			return true
		})
	}
	for _, c := range u.history {
		if c.Namespace == namespace {
			layer.History = append(layer.History, c)
		}
	}
	return layer
}

// LayOver returns a view with layers over it, the oldest first. Its savepoint is the view's own.
func LayOver(view View, layers []Layer) View {
	for _, layer := range layers {
		u := newUpdates(layer.Block)
		for _, w := range layer.Writes {
			up := update{stateKey: stateKey{w.Namespace, w.Key}, item: w.Item}
			if w.Item != nil {
				up.tx = w.Item.Version.Tx
			}
			u.keys.Set(up)
		}
		u.history = layer.History
		view = &overlay{View: view, updates: u}
	}
	return view
}
