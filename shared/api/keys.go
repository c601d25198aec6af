package api

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"peerless/shared/sealed"
)

// keyPrefix marks an API key, so that secret scanners find one that leaked.
const keyPrefix = "pk_"

// keysVersion is the version of the file's format. A file of another version is refused.
const keysVersion = 2

// Errors about keys, wrapped with which.
var (
	// ErrNoKey: the key does not exist.
	ErrNoKey = errors.New("no such key")
	// ErrDamagedKeys: the file of keys is not what was written. It is left as it is: none of its keys is valid.
	ErrDamagedKeys = errors.New("the file of keys is damaged")
)

// A Key is an API key as it is stored: without its secret, of which only the SHA-256 is kept. The secret has 256 random
// bits, so a fast hash is enough.
type Key struct {
	ID           string            `json:"id"`
	Name         string            `json:"name"` // for people
	Hash         string            `json:"hash"` // SHA-256 of the secret, in hex
	User         string            `json:"user"`
	Organization string            `json:"organization"`
	Attributes   map[string]string `json:"attributes,omitempty"`
	Scopes       []Scope           `json:"scopes"`
	Channels     []string          `json:"channels,omitempty"`   // empty: all
	Chaincodes   []string          `json:"chaincodes,omitempty"` // empty: all
	CreatedAt    time.Time         `json:"createdAt"`
	ExpiresAt    time.Time         `json:"expiresAt,omitzero"` // zero: never
	Revoked      bool              `json:"revoked,omitempty"`
	// RatePerSecond is how many requests the key may send, on average; 0: as many as it likes. Burst is how many at once;
	// 0: one second's worth.
	RatePerSecond float64 `json:"ratePerSecond,omitempty"`
	Burst         int     `json:"burst,omitempty"`
}

// liveKey is a stored key and the bucket that counts its requests.
type liveKey struct {
	Key
	hash    [sha256.Size]byte
	limiter *rate.Limiter
}

// take counts a request, or returns how long to wait until the next is allowed.
func (k *liveKey) take(now time.Time) time.Duration {
	if k.limiter == nil {
		return 0
	}
	reservation := k.limiter.ReserveN(now, 1)
	wait := reservation.DelayFrom(now)
	if wait > 0 {
		reservation.CancelAt(now)
	}
	return wait
}

// Keys is a file of API keys, 0600. Other processes may change it while it is open: changes are noticed within a second.
// Safe for concurrent use.
type Keys struct {
	path string

	mu      sync.Mutex
	checked time.Time // when the file was last looked at
	stat    fs.FileInfo
	byHash  map[[sha256.Size]byte]*liveKey
	list    []*liveKey // in order of creation
}

type keysFile struct {
	Version int   `json:"version"`
	Keys    []Key `json:"keys"`
}

// OpenKeys opens the file at path. It need not exist yet. ErrDamagedKeys if a byte of it has changed since it was written.
func OpenKeys(path string) (*Keys, error) {
	k := &Keys{path: path}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.loadLocked(); err != nil {
		return nil, err
	}
	return k, nil
}

// Create adds a key and returns it with its secret, which cannot be had again. It sets ID, Hash and CreatedAt; User
// defaults to Name, Scopes to submit and evaluate.
func (k *Keys) Create(key Key) (secret string, created *Key, err error) {
	if key.User == "" {
		key.User = key.Name
	}
	if len(key.Scopes) == 0 {
		key.Scopes = []Scope{ScopeSubmit, ScopeEvaluate}
	}
	if err := checkKey(&key); err != nil {
		return "", nil, err
	}
	var random [32]byte
	rand.Read(random[:])
	secret = keyPrefix + base64.RawURLEncoding.EncodeToString(random[:])
	hash := sha256.Sum256([]byte(secret))
	key.ID, key.Hash = "key_"+hex.EncodeToString(hash[:6]), hex.EncodeToString(hash[:])
	key.CreatedAt, key.Revoked = time.Now().UTC().Truncate(time.Second), false
	err = k.change(func(keys []Key) ([]Key, error) { return append(keys, key), nil })
	return secret, &key, err
}

func checkKey(key *Key) error {
	if key.Name == "" || !printable(key.Name) {
		return errors.New("a key needs a printable name")
	}
	if problem := checkUser("user", key.User); problem != nil {
		return errors.New(problem.Detail)
	}
	if key.Organization == "" {
		return errors.New("a key needs an organisation")
	}
	for _, scope := range key.Scopes {
		if !slices.Contains(Scopes, scope) {
			return fmt.Errorf("unknown scope %q: there are %v", scope, Scopes)
		}
	}
	if !(key.RatePerSecond >= 0) || math.IsInf(key.RatePerSecond, 0) || key.Burst < 0 {
		return errors.New("a rate limit cannot be negative or infinite")
	}
	return nil
}

// List returns the keys in order of creation.
func (k *Keys) List() ([]Key, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.loadLocked(); err != nil {
		return nil, err
	}
	keys := make([]Key, len(k.list))
	for i, key := range k.list {
		keys[i] = key.Key
	}
	return keys, nil
}

// Revoke makes the key with this id, or the only one with this name, invalid for good. ErrNoKey if there is none.
func (k *Keys) Revoke(idOrName string) error {
	return k.change(func(keys []Key) ([]Key, error) {
		found := slices.IndexFunc(keys, func(key Key) bool { return key.ID == idOrName })
		for i, key := range keys {
			if found < 0 && key.Name == idOrName && !key.Revoked {
				if slices.ContainsFunc(keys[i+1:], func(other Key) bool { return other.Name == idOrName && !other.Revoked }) {
					return nil, fmt.Errorf("several keys are called %q: revoke one by its id", idOrName)
				}
				found = i
			}
		}
		if found < 0 {
			return nil, fmt.Errorf("revoke %q: %w", idOrName, ErrNoKey)
		}
		keys[found].Revoked = true
		return keys, nil
	})
}

// find returns the valid key with this secret, or nil.
func (k *Keys) find(secret string, now time.Time) (*liveKey, error) {
	hash := sha256.Sum256([]byte(secret))
	k.mu.Lock()
	defer k.mu.Unlock()
	if now.Sub(k.checked).Abs() > time.Second {
		if err := k.loadLocked(); err != nil {
			return nil, err
		}
		k.checked = now
	}
	key := k.byHash[hash]
	if key == nil || subtle.ConstantTimeCompare(key.hash[:], hash[:]) != 1 {
		return nil, nil
	}
	if key.Revoked || !key.ExpiresAt.IsZero() && !now.Before(key.ExpiresAt) {
		return nil, nil
	}
	return key, nil
}

// loadLocked reads the file if it changed. What it knew before stays if the file cannot be read.
func (k *Keys) loadLocked() error {
	stat, err := os.Stat(k.path)
	if errors.Is(err, fs.ErrNotExist) {
		k.stat, k.byHash, k.list = nil, nil, nil
		return nil
	}
	if err != nil {
		return fmt.Errorf("read keys: %w", err)
	}
	if k.stat != nil && os.SameFile(stat, k.stat) && stat.ModTime().Equal(k.stat.ModTime()) && stat.Size() == k.stat.Size() {
		return nil
	}
	keys, err := readKeys(k.path)
	if err != nil {
		return err
	}
	list, byHash := make([]*liveKey, 0, len(keys)), make(map[[sha256.Size]byte]*liveKey, len(keys))
	for _, key := range keys {
		live := &liveKey{Key: key}
		if n, err := hex.Decode(live.hash[:], []byte(key.Hash)); err != nil || n != sha256.Size {
			return damagedKeys(k.path, fmt.Errorf("the hash of %s is not a SHA-256 in hex", key.ID))
		}
		if key.RatePerSecond > 0 {
			burst := cmp.Or(key.Burst, int(math.Ceil(key.RatePerSecond)))
			if old := k.byHash[live.hash]; old != nil && old.limiter != nil && old.RatePerSecond == key.RatePerSecond && old.Burst == key.Burst {
				live.limiter = old.limiter
			} else {
				live.limiter = rate.NewLimiter(rate.Limit(key.RatePerSecond), burst)
			}
		}
		list = append(list, live)
		byHash[live.hash] = live
	}
	k.stat, k.list, k.byHash = stat, list, byHash
	return nil
}

func readKeys(path string) ([]Key, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	var file keysFile
	err = sealed.Unmarshal(raw, &file)
	if file.Version != 0 && file.Version != keysVersion {
		return nil, fmt.Errorf("read keys: %s has format %d, this program knows %d: use the program that wrote it, or remove it and make new keys",
			path, file.Version, keysVersion)
	}
	if err != nil {
		return nil, damagedKeys(path, err)
	}
	return file.Keys, nil
}

func damagedKeys(path string, err error) error {
	return fmt.Errorf("read keys: %w: %s: %w: restore it from a backup, or remove it and make new keys", ErrDamagedKeys, path, err)
}

// change rewrites the file: durably, all or nothing, one process at a time.
func (k *Keys) change(edit func([]Key) ([]Key, error)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	unlock, err := lockFile(k.path + ".lock")
	if err != nil {
		return fmt.Errorf("change keys: %w", err)
	}
	defer unlock()
	keys, err := readKeys(k.path)
	if err != nil {
		return err
	}
	if keys, err = edit(keys); err != nil {
		return err
	}
	raw, err := sealed.Marshal(keysFile{keysVersion, keys})
	if err != nil {
		return fmt.Errorf("change keys: %w", err)
	}
	if err := replaceFile(k.path, raw); err != nil {
		return fmt.Errorf("change keys: %w", err)
	}
	return k.loadLocked()
}

// replaceFile puts content at path, durably: after a crash the old or the new content is there.
func replaceFile(path string, content []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, filepath.Base(path)+".*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err = f.Write(content); err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
