package organization

import (
	"sync"

	"peerless/shared/msp"
)

// generation is how many signers, at about 10 KB each, one half of the cache holds.
const generation = 512

// cache remembers the signers that were used last: between generation and twice as many. Loads of one name do not
// overlap, so a certificate is issued once.
type cache struct {
	mu         sync.Mutex
	young, old map[string]*msp.Signer
	loading    map[string]*load
}

// load is one that others wait for.
type load struct {
	done   chan struct{} // closed when signer and err are set
	signer *msp.Signer
	err    error
}

func newCache() *cache {
	return &cache{young: map[string]*msp.Signer{}, loading: map[string]*load{}}
}

// get returns the signer of a name, which produce loads if it is not remembered.
func (c *cache) get(name string, produce func() (*msp.Signer, error)) (*msp.Signer, error) {
	c.mu.Lock()
	signer := c.young[name]
	if signer == nil {
		if signer = c.old[name]; signer != nil {
			c.remember(name, signer)
		}
	}
	if signer != nil {
		c.mu.Unlock()
		return signer, nil
	}
	if under := c.loading[name]; under != nil {
		c.mu.Unlock()
		<-under.done
		return under.signer, under.err
	}
	l := &load{done: make(chan struct{})}
	c.loading[name] = l
	c.mu.Unlock()

	l.signer, l.err = produce()

	c.mu.Lock()
	delete(c.loading, name)
	if l.err == nil {
		c.remember(name, l.signer)
	}
	c.mu.Unlock()
	close(l.done)
	return l.signer, l.err
}

// remember needs the lock.
func (c *cache) remember(name string, signer *msp.Signer) {
	if len(c.young) >= generation {
		c.old, c.young = c.young, make(map[string]*msp.Signer, generation)
	}
	c.young[name] = signer
}
