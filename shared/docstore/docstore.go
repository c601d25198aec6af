// Package docstore keeps the control plane's small JSON documents: identities, API keys, bindings, webhooks. A document has
// a kind and an id, and is changed by compare-and-set, so that any number of processes, Lambda functions for instance, may
// share one store. OpenDir keeps documents in files, NewMem in memory, and the subpackage dynamodb in a table.
package docstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"regexp"
	"time"
)

// Limits of what a store takes, whichever it is.
const (
	MaxKind  = 32        // bytes
	MaxID    = 200       // bytes: with what a file's name adds it is below the 255 of every file system
	MaxValue = 256 << 10 // bytes of compact JSON. A DynamoDB item has 400 KB
	MaxPage  = 100       // documents that List returns at once
)

// Errors of every store, wrapped with the document's name.
var (
	// ErrNotFound: there is no such document, or it has expired.
	ErrNotFound = errors.New("no such document")
	// ErrConflict: the document's version is not the one that was named. Get it and decide anew.
	ErrConflict = errors.New("the document was changed meanwhile")
	// ErrInvalid: a kind, an id or a value is not of the form that Document describes. The caller is wrong.
	ErrInvalid = errors.New("not a valid document")
	// ErrDamaged: what is stored is not what was written. It is left as it is, for an operator.
	ErrDamaged = errors.New("the stored document is damaged")
	// ErrFull: a store in memory keeps no more documents.
	ErrFull = errors.New("too many documents for a store in memory")
)

// A Document is one as it is stored.
type Document struct {
	Kind    string // what it is: a to z, digits and hyphens, up to MaxKind
	ID      string // which: letters, digits and any of - . _ ~ @ + = : /, up to MaxID. Case counts
	Version string // set by Put, another each time, never twice the same
	Value   json.RawMessage
	// Expires is when the document is gone, in whole seconds (what is below is cut off); zero: never.
	Expires time.Time
}

// Decode reads the value into v. The error is ErrDamaged.
func (d Document) Decode(v any) error {
	if err := json.Unmarshal(d.Value, v); err != nil {
		return fmt.Errorf("%s %s: %w: %w", d.Kind, d.ID, ErrDamaged, err)
	}
	return nil
}

// Store keeps documents. It is safe for concurrent use, also by other processes over the same data; reads see every write
// that ended before they began. What is written is durable when the call returns, as far as the store is. An error that is
// none of this package's leaves the outcome of a write unknown: read the document.
type Store interface {
	// Get returns a document, or ErrNotFound.
	Get(ctx context.Context, kind, id string) (Document, error)
	// Put writes a document if the stored one has doc.Version: if that is empty, if there is none. It returns the document
	// as stored, with its new version and its value compacted. ErrConflict if the condition does not hold, also where a version is
	// named and there is no document; ErrInvalid. A Put whose answer was lost and that is sent again by the store itself
	// does not meet its own write.
	Put(ctx context.Context, doc Document) (Document, error)
	// Delete removes a document if it has this version, or whatever version it has if that is empty. ErrNotFound if there is
	// none, ErrConflict if it has another version.
	Delete(ctx context.Context, kind, id, version string) error
	// List returns the documents of a kind whose ids begin with prefix and are greater than after, by the bytes of their ids, limit
	// at most; limit is up to MaxPage, and 0 is MaxPage. next is the after of the next page, empty behind the last one. A page may hold
	// less than limit, or nothing, and yet have a next. Documents that are written meanwhile may be missed.
	List(ctx context.Context, kind, prefix, after string, limit int) (page []Document, next string, err error)
}

// All reads every page of List.
func All(ctx context.Context, s Store, kind, prefix string) iter.Seq2[Document, error] {
	return func(yield func(Document, error) bool) {
		after := ""
		for {
			page, next, err := s.List(ctx, kind, prefix, after, 0)
			if err != nil {
				yield(Document{}, err)
				return
			}
			for _, doc := range page {
				if !yield(doc, nil) {
					return
				}
			}
			if next == "" {
				return
			}
			after = next
		}
	}
}

// Create writes v as a document that never expires, unless there is one: then it returns that. Whoever is first, all see the same.
func Create(ctx context.Context, s Store, kind, id string, v any) (Document, error) {
	value, err := json.Marshal(v)
	if err != nil {
		return Document{}, fmt.Errorf("%s %s: %w: %w", kind, id, ErrInvalid, err)
	}
	for {
		doc, err := s.Put(ctx, Document{Kind: kind, ID: id, Value: value})
		if !errors.Is(err, ErrConflict) {
			return doc, err
		}
		doc, err = s.Get(ctx, kind, id)
		if !errors.Is(err, ErrNotFound) { // else it was deleted between the two calls
			return doc, err
		}
	}
}

// updates is how often Update tries. Each failure is another's success, so this many writers at once all get through.
const updates = 32

// Update changes a document that holds a T, or makes it: change gets what is stored, or a zero T and false, and may be called
// again if others change it too. An error of change is returned as it is, and nothing is written. What Update writes keeps the expiry.
func Update[T any](ctx context.Context, s Store, kind, id string, change func(value *T, exists bool) error) (Document, error) {
	for try := 1; ; try++ {
		doc, err := s.Get(ctx, kind, id)
		exists := err == nil
		if err != nil && !errors.Is(err, ErrNotFound) {
			return doc, err
		}
		var value T
		if exists {
			if err := doc.Decode(&value); err != nil {
				return doc, err
			}
		} else {
			doc = Document{Kind: kind, ID: id}
		}
		if err := change(&value, exists); err != nil {
			return doc, err
		}
		if doc.Value, err = json.Marshal(value); err != nil {
			return doc, fmt.Errorf("%s %s: %w: %w", kind, id, ErrInvalid, err)
		}
		doc, err = s.Put(ctx, doc)
		if !errors.Is(err, ErrConflict) || try == updates {
			return doc, err
		}
		if err := ctx.Err(); err != nil {
			return doc, err
		}
	}
}

// What stores need from here.

var (
	validKind = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
	validID   = regexp.MustCompile(`^[A-Za-z0-9._~@+=:/-]+$`)
	validPart = regexp.MustCompile(`^[A-Za-z0-9._~@+=:/-]*$`)
)

// CheckName returns ErrInvalid unless the kind and the id are of the form that Document describes.
func CheckName(kind, id string) error {
	switch {
	case len(kind) > MaxKind || !validKind.MatchString(kind):
		return fmt.Errorf("%w: the kind %q", ErrInvalid, kind)
	case len(id) > MaxID || !validID.MatchString(id):
		return fmt.Errorf("%s %q: %w: the id", kind, id, ErrInvalid)
	}
	return nil
}

// CheckList returns the limit of a call of List, or ErrInvalid.
func CheckList(kind, prefix, after string, limit int) (int, error) {
	switch {
	case len(kind) > MaxKind || !validKind.MatchString(kind):
		return 0, fmt.Errorf("%w: the kind %q", ErrInvalid, kind)
	case len(prefix) > MaxID || len(after) > MaxID || !validPart.MatchString(prefix) || !validPart.MatchString(after):
		return 0, fmt.Errorf("list %s: %w: the prefix %q or the position %q", kind, ErrInvalid, prefix, after)
	case limit < 0 || limit > MaxPage:
		return 0, fmt.Errorf("list %s: %w: pages have up to %d documents, not %d", kind, ErrInvalid, MaxPage, limit)
	case limit == 0:
		return MaxPage, nil
	}
	return limit, nil
}

// Prepare returns the document that a Put stores: checked, compact, with a new version.
func Prepare(doc Document) (Document, error) {
	if err := CheckName(doc.Kind, doc.ID); err != nil {
		return doc, err
	}
	value, err := json.Marshal(doc.Value) // of a RawMessage: compacts, and escapes as every other marshalling would
	if err != nil || bytes.Equal(value, []byte("null")) {
		return doc, fmt.Errorf("%s %s: %w: the value is no JSON, or null", doc.Kind, doc.ID, ErrInvalid)
	}
	if len(value) > MaxValue {
		return doc, fmt.Errorf("%s %s: %w: the value has over %d bytes", doc.Kind, doc.ID, ErrInvalid, MaxValue)
	}
	doc.Value, doc.Version = value, rand.Text()
	if !doc.Expires.IsZero() {
		doc.Expires = doc.Expires.UTC().Truncate(time.Second)
	}
	return doc, nil
}

// Expired tells whether a document is gone.
func (d Document) Expired(now time.Time) bool { return !d.Expires.IsZero() && !now.Before(d.Expires) }
