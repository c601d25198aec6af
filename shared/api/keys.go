package api

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"peerless/shared/docstore"
)

// KeyPrefix marks an API key, so that secret scanners find one that leaked, and that it is no JWT.
const KeyPrefix = "pk_"

// KindKey is the kind of the documents of API keys. Their ids are the SHA-256 of the keys' secrets, in hex: to look one up is one
// read. The secrets have 256 random bits, so a fast hash is enough: what makes bcrypt slow guards words that people choose, and would
// cost each request 50 ms of a function.
const KindKey = "key"

// keyIDPrefix begins the id by which people name a key; the beginning of its hash follows.
const keyIDPrefix, keyIDDigits = "key_", 12

// ErrNoKey, wrapped with which: the key does not exist.
var ErrNoKey = errors.New("no such key")

// A Key is an API key as it is stored: without its secret.
type Key struct {
	ID           string            `json:"id"`
	Name         string            `json:"name"`             // for people
	Hash         string            `json:"hash"`             // SHA-256 of the secret, in hex
	Tenant       string            `json:"tenant,omitempty"` // empty: the platform's own
	User         string            `json:"user"`
	Organization string            `json:"organization"`
	Attributes   map[string]string `json:"attributes,omitempty"`
	Scopes       []Scope           `json:"scopes"`
	Channels     []string          `json:"channels,omitempty"`   // empty: all
	Chaincodes   []string          `json:"chaincodes,omitempty"` // empty: all
	CreatedAt    time.Time         `json:"createdAt"`
	ExpiresAt    time.Time         `json:"expiresAt,omitzero"` // zero: never
	Revoked      bool              `json:"revoked,omitempty"`
	// RatePerSecond is how many requests the key may send, on average, to each process; 0: as many as it likes. Burst is how many at
	// once; 0: one second's worth.
	RatePerSecond float64 `json:"ratePerSecond,omitempty"`
	Burst         int     `json:"burst,omitempty"`
}

// State says in words whether a key is valid.
func (k *Key) State(now time.Time) string {
	switch {
	case k.Revoked:
		return "revoked"
	case k.ExpiresAt.IsZero():
		return "valid"
	case now.Before(k.ExpiresAt):
		return "valid until " + k.ExpiresAt.Format(time.DateTime)
	}
	return "expired"
}

// KeysConfig is how API keys are kept. The zero value is good for a server.
type KeysConfig struct {
	// CacheFor is how long a key that was looked up is believed without asking again: a revoked key is refused by every process this
	// much later at most, and a key that was just made elsewhere may be. Default 10 s. A key's own expiry is exact.
	CacheFor time.Duration
	// AdminHash is the SHA-256, in hex, of a secret with every scope that is no document: the first key of a platform in the cloud,
	// which makes the others. Empty: there is none.
	AdminHash string
	// Organization is the MSP id of that key's user, "operator".
	Organization string
}

const (
	defaultCacheFor = 10 * time.Second
	// keysCached bounds how many keys, valid or not, are remembered.
	keysCached = 4096
	// keptAfterExpiry is how long a key that has expired is still listed.
	keptAfterExpiry = 30 * 24 * time.Hour
)

// Keys are the API keys in a store of documents, which processes share, and the tenants that keys belong to. Safe for concurrent use.
type Keys struct {
	store  docstore.Store
	config KeysConfig
	admin  *Key

	mu      sync.Mutex
	cache   map[string]*cachedKey // by hash, in hex
	tenants map[string]cachedTenant
}

// cachedKey is what was found under a hash, and the bucket that counts the requests of it.
type cachedKey struct {
	*Key    // nil: there is none
	at      time.Time
	limiter *rate.Limiter
}

// NewKeys returns the keys in a store.
func NewKeys(store docstore.Store, config KeysConfig) (*Keys, error) {
	if config.CacheFor <= 0 {
		config.CacheFor = defaultCacheFor
	}
	k := &Keys{store: store, config: config, cache: map[string]*cachedKey{}, tenants: map[string]cachedTenant{}}
	if config.AdminHash != "" {
		if hash, err := hex.DecodeString(config.AdminHash); err != nil || len(hash) != sha256.Size || config.Organization == "" {
			return nil, errors.New("the hash of the administrator's key must be a SHA-256 in hex, as peerless key generate prints it, and its organisation be named")
		}
		hash := strings.ToLower(config.AdminHash)
		k.admin = &Key{ID: keyID(hash), Name: "admin", Hash: hash, User: "operator", Organization: config.Organization, Scopes: Scopes}
	}
	return k, nil
}

// NewSecret returns a new key's secret and its hash.
func NewSecret() (secret, hash string) {
	var random [32]byte
	rand.Read(random[:])
	secret = KeyPrefix + base64.RawURLEncoding.EncodeToString(random[:])
	return secret, hashOf(secret)
}

func hashOf(secret string) string {
	hash := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(hash[:])
}

func keyID(hash string) string { return keyIDPrefix + hash[:keyIDDigits] }

// isSecret reports whether NewSecret may have made a text. What it did not make is not looked up.
func isSecret(text string) bool {
	encoded, ok := strings.CutPrefix(text, KeyPrefix)
	raw, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	return ok && err == nil && len(raw) == 32
}

// Create adds a key and returns it with its secret, which cannot be had again. It sets ID, Hash and CreatedAt; User
// defaults to Name, Scopes to submit and evaluate. The error for a key that cannot be is INVALID_REQUEST.
func (k *Keys) Create(ctx context.Context, key Key) (secret string, created *Key, err error) {
	if key.User == "" {
		key.User = key.Name
	}
	if len(key.Scopes) == 0 {
		key.Scopes = []Scope{ScopeSubmit, ScopeEvaluate}
	}
	if key.Tenant != "" {
		tenant, err := k.Tenant(ctx, key.Tenant)
		if err != nil {
			return "", nil, err
		}
		if key.Organization == "" {
			key.Organization = tenant.Organization
		}
		if key.Organization != tenant.Organization {
			return "", nil, invalid("organization", "the users of the tenant "+tenant.Name+" are of "+tenant.Organization)
		}
	}
	if err := checkKey(&key); err != nil {
		return "", nil, err
	}
	secret, key.Hash = NewSecret()
	key.ID, key.CreatedAt, key.Revoked = keyID(key.Hash), time.Now().UTC().Truncate(time.Second), false
	value, err := json.Marshal(key)
	if err != nil {
		return "", nil, fmt.Errorf("create a key: %w", err)
	}
	doc := docstore.Document{Kind: KindKey, ID: key.Hash, Value: value}
	if !key.ExpiresAt.IsZero() {
		doc.Expires = key.ExpiresAt.Add(keptAfterExpiry)
	}
	if _, err := k.store.Put(ctx, doc); err != nil {
		return "", nil, fmt.Errorf("create a key: %w", err)
	}
	return secret, &key, nil
}

func checkKey(key *Key) error {
	if key.Name == "" || len(key.Name) > MaxUser || !printable(key.Name) {
		return invalid("name", fmt.Sprintf("a key needs a printable name of up to %d bytes", MaxUser))
	}
	if problem := CheckUser("user", key.User); problem != nil {
		return problem
	}
	if key.Organization == "" || len(key.Organization) > MaxUser || !printable(key.Organization) {
		return invalid("organization", "a key needs an organisation")
	}
	for _, scope := range key.Scopes {
		if !slices.Contains(Scopes, scope) {
			return invalid("scopes", fmt.Sprintf("unknown scope %q: there are %v", scope, Scopes))
		}
	}
	for name, value := range key.Attributes {
		if name == "" || !printable(name) || len(name)+len(value) > MaxUser*4 {
			return invalid("attributes", fmt.Sprintf("the attribute %.40q is not a printable name, or too long", name))
		}
	}
	for _, channel := range key.Channels {
		if err := checkChannel("channels", channel); err != nil {
			return err
		}
	}
	for _, chaincode := range key.Chaincodes {
		if err := checkChaincode("chaincodes", chaincode); err != nil {
			return err
		}
	}
	if !(key.RatePerSecond >= 0) || math.IsInf(key.RatePerSecond, 0) || key.Burst < 0 {
		return invalid("ratePerSecond", "a rate limit cannot be negative or infinite")
	}
	return nil
}

// List returns the keys in order of creation: those of a tenant, or all if it is empty.
func (k *Keys) List(ctx context.Context, tenant string) ([]Key, error) {
	list := []Key{}
	for doc, err := range docstore.All(ctx, k.store, KindKey, "") {
		var key Key
		if err == nil {
			err = readKey(doc, &key)
		}
		if err != nil {
			return nil, fmt.Errorf("list keys: %w", err)
		}
		if tenant == "" || key.Tenant == tenant {
			list = append(list, key)
		}
	}
	slices.SortFunc(list, func(a, b Key) int {
		if c := a.CreatedAt.Compare(b.CreatedAt); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return list, nil
}

// readKey refuses a document that is another key's.
func readKey(doc docstore.Document, key *Key) error {
	if err := doc.Decode(key); err != nil {
		return err
	}
	if key.Hash != doc.ID {
		return fmt.Errorf("%s: %w: it is of another key", doc.ID, docstore.ErrDamaged)
	}
	return nil
}

// Revoke makes the key with this id, or the only valid one with this name, invalid for good: of a tenant's if one is named. ErrNoKey
// if there is none.
func (k *Keys) Revoke(ctx context.Context, tenant, idOrName string) error {
	list, err := k.List(ctx, tenant)
	if err != nil {
		return err
	}
	var found []Key
	for _, key := range list {
		if key.ID == idOrName {
			found = []Key{key}
			break
		}
		if key.Name == idOrName && !key.Revoked {
			found = append(found, key)
		}
	}
	switch len(found) {
	case 0:
		return fmt.Errorf("revoke %q: %w", idOrName, ErrNoKey)
	case 1:
	default:
		return fmt.Errorf("several keys are called %q: revoke one by its id", idOrName)
	}
	_, err = docstore.Update(ctx, k.store, KindKey, found[0].Hash, func(key *Key, exists bool) error {
		if !exists {
			return ErrNoKey
		}
		key.Revoked = true
		return nil
	})
	if err != nil {
		return fmt.Errorf("revoke %q: %w", idOrName, err)
	}
	k.mu.Lock()
	delete(k.cache, found[0].Hash)
	k.mu.Unlock()
	return nil
}

// find returns the valid key with this secret, or nil.
func (k *Keys) find(ctx context.Context, secret string, now time.Time) (*cachedKey, error) {
	if !isSecret(secret) {
		return nil, nil
	}
	hash := hashOf(secret)
	if k.admin != nil && equal(hash, k.admin.Hash) {
		return &cachedKey{Key: k.admin}, nil
	}
	k.mu.Lock()
	cached := k.cache[hash]
	k.mu.Unlock()
	if cached == nil || now.Sub(cached.at).Abs() > k.config.CacheFor {
		var err error
		if cached, err = k.load(ctx, hash, cached, now); err != nil {
			return nil, err
		}
	}
	key := cached.Key
	if key == nil || !equal(hash, key.Hash) || key.Revoked || !key.ExpiresAt.IsZero() && !now.Before(key.ExpiresAt) {
		return nil, nil
	}
	return cached, nil
}

// equal takes as long for what begins alike as for what does not.
func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// load reads a key. Its bucket goes on, if its rate is the same.
func (k *Keys) load(ctx context.Context, hash string, before *cachedKey, now time.Time) (*cachedKey, error) {
	loaded := &cachedKey{at: now}
	doc, err := k.store.Get(ctx, KindKey, hash)
	switch {
	case err == nil:
		loaded.Key = &Key{}
		if err := readKey(doc, loaded.Key); err != nil {
			return nil, err
		}
	case !errors.Is(err, docstore.ErrNotFound):
		return nil, err
	}
	if loaded.Key != nil && loaded.RatePerSecond > 0 {
		if before != nil && before.Key != nil && before.RatePerSecond == loaded.RatePerSecond && before.Burst == loaded.Burst {
			loaded.limiter = before.limiter
		} else {
			burst := loaded.Burst
			if burst == 0 {
				burst = int(math.Ceil(loaded.RatePerSecond))
			}
			loaded.limiter = rate.NewLimiter(rate.Limit(loaded.RatePerSecond), burst)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.cache) >= keysCached {
		clear(k.cache)
	}
	k.cache[hash] = loaded
	return loaded, nil
}

// take counts a request, or returns how long to wait until the next is allowed.
func (k *cachedKey) take(now time.Time) time.Duration {
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
