package queue

import (
	"bytes"
	"context"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"sync"

	"peerless/shared/ledger"
	"peerless/shared/secret"
)

// Sealed returns a store whose records are sealed in store: messages hold transient values, which nothing else keeps. Records that
// were kept before in the clear are read as they are, and sealed when they are next written.
//
// Each process seals under a key of its own, which stands in every record, sealed by the sealer: that is asked once for each key, and its
// own key seals no more than that. A record is bound to its number.
//
//	1 | length of the sealed key | sealed key | sealed record
func Sealed(store Store, sealer secret.Sealer) Store {
	return &sealedStore{store: store, sealer: sealer, opened: make(map[string]cipher.AEAD)}
}

const (
	sealedVersion = 1
	keyPurpose    = "key of queued messages"
	keySize       = 32 // AES-256's, in bytes
)

type sealedStore struct {
	store  Store
	sealer secret.Sealer

	mu     sync.Mutex
	own    []byte                 // this process's key, sealed; nil until it seals
	opened map[string]cipher.AEAD // by the sealed key
}

var _ Store = (*sealedStore)(nil)

func (s *sealedStore) Put(ctx context.Context, number uint64, record []byte) error {
	wrapped, key, err := s.ownKey(ctx)
	if err != nil {
		return fmt.Errorf("seal message %d: %w", number, err)
	}
	sealed := binary.AppendUvarint([]byte{sealedVersion}, uint64(len(wrapped)))
	sealed = append(sealed, wrapped...)
	return s.store.Put(ctx, number, key.Seal(sealed, nil, record, place(number)))
}

func (s *sealedStore) Get(ctx context.Context, number uint64) ([]byte, error) {
	sealed, err := s.store.Get(ctx, number)
	if err != nil {
		return nil, err
	}
	return s.open(ctx, number, sealed)
}

func (s *sealedStore) Delete(ctx context.Context, number uint64) error {
	return s.store.Delete(ctx, number)
}

func (s *sealedStore) Each(ctx context.Context, visit func(uint64, []byte) error) error {
	return s.store.Each(ctx, func(number uint64, sealed []byte) error {
		record, err := s.open(ctx, number, sealed)
		if err != nil {
			return err
		}
		return visit(number, record)
	})
}

// place is what a record is sealed for.
func place(number uint64) []byte { return binary.AppendUvarint([]byte("queued message "), number) }

func (s *sealedStore) open(ctx context.Context, number uint64, sealed []byte) ([]byte, error) {
	if bytes.HasPrefix(sealed, []byte("{")) {
		return sealed, nil // from before records were sealed
	}
	damaged := fmt.Errorf("open message %d: %w", number, ledger.ErrDamaged)
	if len(sealed) == 0 || sealed[0] != sealedVersion {
		return nil, damaged
	}
	length, n := binary.Uvarint(sealed[1:])
	if n <= 0 || length > uint64(len(sealed)-1-n) {
		return nil, damaged
	}
	wrapped := sealed[1+n : 1+n+int(length)]
	key, err := s.key(ctx, wrapped)
	if err != nil {
		return nil, fmt.Errorf("open message %d: %w", number, err)
	}
	record, err := key.Open(nil, nil, sealed[1+n+int(length):], place(number))
	if err != nil {
		return nil, damaged
	}
	return record, nil
}

// ownKey returns this process's key, sealed and open.
func (s *sealedStore) ownKey(ctx context.Context) ([]byte, cipher.AEAD, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.own != nil {
		return s.own, s.opened[string(s.own)], nil
	}
	raw := make([]byte, keySize)
	rand.Read(raw) // never fails
	defer clear(raw)
	key, err := secret.NewAEAD(raw)
	if err != nil {
		return nil, nil, err
	}
	wrapped, err := s.sealer.Seal(ctx, raw, keyPurpose)
	if err != nil {
		return nil, nil, err
	}
	s.own, s.opened[string(wrapped)] = wrapped, key
	return wrapped, key, nil
}

// key opens a key.
func (s *sealedStore) key(ctx context.Context, wrapped []byte) (cipher.AEAD, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if key := s.opened[string(wrapped)]; key != nil {
		return key, nil
	}
	raw, err := s.sealer.Open(ctx, wrapped, keyPurpose)
	if err != nil {
		return nil, err
	}
	defer clear(raw)
	key, err := secret.NewAEAD(raw)
	if err != nil {
		return nil, err
	}
	s.opened[string(wrapped)] = key
	return key, nil
}
