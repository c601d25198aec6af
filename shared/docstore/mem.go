package docstore

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Mem keeps documents as long as the process lives: for tests, and for what need not last.
type Mem struct {
	limit int

	mu        sync.Mutex
	documents map[name]Document
}

type name struct{ kind, id string }

var _ Store = (*Mem)(nil)

// NewMem returns an empty store. It keeps at most limit documents, and refuses one more with ErrFull; 0 is no limit.
func NewMem(limit int) *Mem { return &Mem{limit: limit, documents: map[name]Document{}} }

func (m *Mem) Get(_ context.Context, kind, id string) (Document, error) {
	if err := CheckName(kind, id); err != nil {
		return Document{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	doc, ok := m.findLocked(kind, id)
	if !ok {
		return Document{}, fmt.Errorf("%s %s: %w", kind, id, ErrNotFound)
	}
	return copied(doc), nil
}

// findLocked forgets what has expired.
func (m *Mem) findLocked(kind, id string) (Document, bool) {
	doc, ok := m.documents[name{kind, id}]
	if ok && doc.Expired(time.Now()) {
		delete(m.documents, name{kind, id})
		return Document{}, false
	}
	return doc, ok
}

func (m *Mem) Put(_ context.Context, doc Document) (Document, error) {
	next, err := Prepare(doc)
	if err != nil {
		return doc, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	stored, exists := m.findLocked(doc.Kind, doc.ID)
	if stored.Version != doc.Version {
		return doc, fmt.Errorf("%s %s: %w", doc.Kind, doc.ID, ErrConflict)
	}
	if !exists && m.limit > 0 && len(m.documents) >= m.limit {
		return doc, fmt.Errorf("%s %s: %w", doc.Kind, doc.ID, ErrFull)
	}
	m.documents[name{doc.Kind, doc.ID}] = next
	return copied(next), nil
}

func (m *Mem) Delete(_ context.Context, kind, id, version string) error {
	if err := CheckName(kind, id); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	stored, exists := m.findLocked(kind, id)
	switch {
	case !exists:
		return fmt.Errorf("%s %s: %w", kind, id, ErrNotFound)
	case version != "" && stored.Version != version:
		return fmt.Errorf("%s %s: %w", kind, id, ErrConflict)
	}
	delete(m.documents, name{kind, id})
	return nil
}

func (m *Mem) List(_ context.Context, kind, prefix, after string, limit int) ([]Document, string, error) {
	limit, err := CheckList(kind, prefix, after, limit)
	if err != nil {
		return nil, "", err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var page []Document
	now := time.Now()
	for n, doc := range m.documents {
		if n.kind == kind && strings.HasPrefix(n.id, prefix) && n.id > after && !doc.Expired(now) {
			page = append(page, copied(doc))
		}
	}
	slices.SortFunc(page, func(a, b Document) int { return strings.Compare(a.ID, b.ID) })
	if len(page) <= limit {
		return page, "", nil
	}
	return page[:limit], page[limit-1].ID, nil
}

func copied(doc Document) Document {
	doc.Value = bytes.Clone(doc.Value)
	return doc
}
