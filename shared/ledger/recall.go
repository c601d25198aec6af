package ledger

import (
	"context"
	"sync"
)

// recall remembers what was read of a channel's state at one height, and what the blocks cut here since then made of it. Only a
// channel whose store is shared has one.
//
// What it holds is true as long as the channel has that many blocks. Nobody is asked whether it has: whoever appends the next
// block does so on the condition that nobody else did, and whoever only reads asks at the end (Channel.Unchanged). That holds for
// what was read from a moving state too: if there was a later block to be seen of, the condition fails.
type recall struct {
	mu     sync.Mutex
	height uint64
	items  map[stateKey]*Item // nil: there is no such key
	bytes  int
}

// recallBytes is how much is remembered of a channel at most, in bytes of keys and values. Beyond it all is forgotten.
const recallBytes = 4 << 20

func (r *recall) get(height uint64, k stateKey) (*Item, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.height != height {
		return nil, false
	}
	item, ok := r.items[k]
	return item, ok
}

// at makes the height the one of which things are remembered, unless it was passed already. What was read at an earlier one is
// forgotten, but for definitions of chaincodes if they are the same.
func (r *recall) at(height uint64, sameDefinitions func(since uint64) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if height < r.height || height == r.height && r.items != nil {
		return
	}
	items := r.items
	since := r.height
	r.height, r.items, r.bytes = height, make(map[stateKey]*Item), 0
	if !sameDefinitions(since) {
		return
	}
	for k, item := range items {
		if k.namespace == LifecycleNamespace {
			r.putLocked(k, item)
		}
	}
}

// put remembers an item read at a height.
func (r *recall) put(height uint64, k stateKey, item *Item) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if height == r.height && r.items != nil {
		r.putLocked(k, item)
	}
}

func (r *recall) putLocked(k stateKey, item *Item) {
	r.bytes += 100 + len(k.namespace) + len(k.key)
	if item != nil {
		r.bytes += len(item.Value) + len(item.Metadata)
	}
	if r.bytes > recallBytes {
		r.items, r.bytes = make(map[stateKey]*Item), 0
	}
	r.items[k] = item
}

// follow goes on to the height after a block that was cut here.
func (r *recall) follow(u *updates) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.height != u.number || r.items == nil {
		return
	}
	r.height++
	u.keys.Scan(func(up update) bool {
		r.putLocked(up.stateKey, up.item)
		return true
	})
}

// recalling is a view at a height that asks for nothing twice.
type recalling struct {
	View
	recall *recall
	height uint64
}

var _ View = (*recalling)(nil)

func (v *recalling) Savepoint() uint64 { return v.height }

func (v *recalling) Get(ctx context.Context, namespace string, keys []string) ([]*Item, error) {
	items := make([]*Item, len(keys))
	var missing []string
	var places []int
	for i, key := range keys {
		item, ok := v.recall.get(v.height, stateKey{namespace, key})
		if items[i] = item; !ok {
			missing, places = append(missing, key), append(places, i)
		}
	}
	if len(missing) == 0 {
		return items, nil
	}
	read, err := v.View.Get(ctx, namespace, missing)
	if err != nil {
		return nil, err
	}
	for i, item := range read {
		v.recall.put(v.height, stateKey{namespace, missing[i]}, item)
		items[places[i]] = item
	}
	return items, nil
}

// drafting is a view that takes definitions of chaincodes as they were when they were last read.
type drafting struct {
	View
	recall *recall
}

func (v *drafting) Get(ctx context.Context, namespace string, keys []string) ([]*Item, error) {
	if namespace == LifecycleNamespace {
		if items, ok := v.recall.definitions(keys); ok {
			return items, nil
		}
	}
	return v.View.Get(ctx, namespace, keys)
}

// definitions returns keys of LifecycleNamespace, at whatever height, if all are remembered.
func (r *recall) definitions(keys []string) ([]*Item, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	items := make([]*Item, len(keys))
	for i, key := range keys {
		item, ok := r.items[stateKey{LifecycleNamespace, key}]
		if !ok {
			return nil, false
		}
		items[i] = item
	}
	return items, true
}
