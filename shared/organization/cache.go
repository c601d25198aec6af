package organization

import "sync"

// generation is how many entries, a signer having about 10 KB, one half of a cache holds.
const generation = 512

// A cache remembers what was used last: between generation and twice as many. Loads under one name do not overlap, so a
// certificate is issued once.
type cache[V any] struct {
	mu         sync.Mutex
	young, old map[string]V
	loading    map[string]*load[V]
	forgotten  int // counts calls of forget: what was being loaded meanwhile is not remembered
}

// load is one that others wait for.
type load[V any] struct {
	done  chan struct{} // closed when value and err are set
	value V
	err   error
}

func newCache[V any]() *cache[V] {
	return &cache[V]{young: map[string]V{}, loading: map[string]*load[V]{}}
}

// get returns the value of a key, which produce loads if it is not remembered. Who loads under the same name meanwhile waits for
// that.
func (c *cache[V]) get(key, name string, produce func() (V, error)) (V, error) {
	c.mu.Lock()
	value, known := c.young[key]
	if !known {
		if value, known = c.old[key]; known {
			c.remember(key, value)
		}
	}
	if known {
		c.mu.Unlock()
		return value, nil
	}
	if under := c.loading[name]; under != nil {
		c.mu.Unlock()
		<-under.done
		return under.value, under.err
	}
	l := &load[V]{done: make(chan struct{})}
	c.loading[name] = l
	before := c.forgotten
	c.mu.Unlock()

	l.value, l.err = produce()

	c.mu.Lock()
	delete(c.loading, name)
	if l.err == nil && before == c.forgotten {
		c.remember(key, l.value)
	}
	c.mu.Unlock()
	close(l.done)
	return l.value, l.err
}

// forget has a key loaded anew.
func (c *cache[V]) forget(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.young, key)
	delete(c.old, key)
	c.forgotten++
}

// remember needs the lock.
func (c *cache[V]) remember(key string, value V) {
	if len(c.young) >= generation {
		c.old, c.young = c.young, make(map[string]V, generation)
	}
	c.young[key] = value
}
