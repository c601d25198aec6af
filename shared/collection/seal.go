package collection

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
)

// Keys holds what seals the private values of organisations, a key for each.
type Keys interface {
	// DataKey returns AES-256-GCM under an organisation's key, which draws a nonce for each sealing and puts it before the
	// ciphertext; or an error wrapping ErrNoKey if this platform keeps no values for the organisation.
	DataKey(mspID string) (cipher.AEAD, error)
}

// Errors of Seal and Open.
var (
	// ErrNoKey: this platform holds no key of the organisation, or of any that the value is sealed for.
	ErrNoKey = errors.New("no key for private data")
	// ErrSealed: it is not what was sealed, or was sealed for another place.
	ErrSealed = errors.New("private data is not what was sealed")
)

// A sealed value is under a key of its own, which is sealed for each organisation: any one of them can open it, and once all
// have destroyed theirs nobody can.
//
//	1 | number of organisations | for each: length, MSP id, sealed key | sealed value
const (
	sealVersion   = 1
	valueKeySize  = 32                     // AES-256's
	sealedKeySize = valueKeySize + 12 + 16 // with nonce and tag
)

// Seal seals a value for those of the organisations whose keys are here, ErrNoKey if none is. It opens only at its place: any
// text that says where it stands.
func Seal(keys Keys, organizations []string, place string, value []byte) ([]byte, error) {
	valueKey := make([]byte, valueKeySize)
	rand.Read(valueKey)
	count := 0
	var wrapped []byte
	for _, mspID := range organizations {
		aead, err := keys.DataKey(mspID)
		if errors.Is(err, ErrNoKey) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("seal private data for %s: %w", mspID, err)
		}
		count++
		wrapped = append(binary.AppendUvarint(wrapped, uint64(len(mspID))), mspID...)
		wrapped = aead.Seal(wrapped, nil, valueKey, []byte(place))
	}
	if count == 0 {
		return nil, fmt.Errorf("seal private data for %v: %w", organizations, ErrNoKey)
	}
	sealed := binary.AppendUvarint([]byte{sealVersion}, uint64(count))
	sealed = append(sealed, wrapped...)
	return valueSeal(valueKey).Seal(sealed, nil, value, []byte(place)), nil
}

func valueSeal(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // the length is AES-256's
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // the block is AES's
	}
	return aead
}

// Open opens what was sealed for a place with the key of an organisation; with that of any, if mspID is empty. It returns
// ErrNoKey, ErrSealed, or what Keys does.
func Open(keys Keys, mspID, place string, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 || sealed[0] != sealVersion {
		return nil, fmt.Errorf("open private data: %w", ErrSealed)
	}
	count, rest, ok := number(sealed[1:])
	var valueKey []byte
	for range count {
		var length uint64
		if length, rest, ok = number(rest); !ok || length > uint64(len(rest)) || uint64(len(rest))-length < sealedKeySize {
			return nil, fmt.Errorf("open private data: %w", ErrSealed)
		}
		owner, wrapped := string(rest[:length]), rest[length:length+sealedKeySize]
		rest = rest[length+sealedKeySize:]
		if valueKey != nil || mspID != "" && owner != mspID {
			continue
		}
		aead, err := keys.DataKey(owner)
		if errors.Is(err, ErrNoKey) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("open private data of %s: %w", owner, err)
		}
		if valueKey, err = aead.Open(nil, nil, wrapped, []byte(place)); err != nil {
			return nil, fmt.Errorf("open private data of %s: %w", owner, ErrSealed)
		}
	}
	if !ok {
		return nil, fmt.Errorf("open private data: %w", ErrSealed)
	}
	if len(valueKey) != valueKeySize {
		return nil, fmt.Errorf("open private data: %w", ErrNoKey)
	}
	value, err := valueSeal(valueKey).Open(nil, nil, rest, []byte(place))
	if err != nil {
		return nil, fmt.Errorf("open private data: %w", ErrSealed)
	}
	return value, nil
}

func number(b []byte) (n uint64, rest []byte, ok bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 {
		return 0, nil, false
	}
	return n, b[size:], true
}
