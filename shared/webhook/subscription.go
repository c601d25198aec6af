package webhook

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"peerless/shared/docstore"
	"peerless/shared/gateway"
	"peerless/shared/secret"
)

// The kinds of the documents that subscriptions are kept in. Their ids are <channel>/<id>.
const (
	KindSubscription = "webhook"
	KindProgress     = "webhook-progress"
)

// MaxPerChannel is how many subscriptions a channel may have.
const MaxPerChannel = 100

// A Subscription says which events go where.
type Subscription struct {
	ID        string    `json:"id"`
	Channel   string    `json:"channel"`
	Chaincode string    `json:"chaincode,omitempty"` // empty: of every chaincode
	Events    []string  `json:"events,omitempty"`    // their names; none: all
	URL       string    `json:"url"`                 // of an endpoint, or the ARN of an SNS topic or an EventBridge bus
	CreatedAt time.Time `json:"createdAt"`
	// Sealed is the secret, sealed. Only endpoints have one.
	Sealed []byte `json:"sealed,omitempty"`
	// From is where it begins: events of the blocks from this one on.
	From uint64 `json:"from"`
}

// wants reports whether an event is one of the subscription's.
func (s *Subscription) wants(e *gateway.Event) bool {
	return (s.Chaincode == "" || e.Chaincode == s.Chaincode) && (len(s.Events) == 0 || slices.Contains(s.Events, e.Name))
}

func (s *Subscription) document() string { return s.Channel + "/" + s.ID }

// isARN reports whether the subscription's target is one of AWS.
func (s *Subscription) isARN() bool { return strings.HasPrefix(s.URL, "arn:") }

// A Progress is how far a subscription has come.
type Progress struct {
	Block     uint64  `json:"block"`           // the next to be read
	After     *uint64 `json:"after,omitempty"` // position of the last transaction of Block that is done with; nil: none is
	Delivered uint64  `json:"delivered"`       // events that the target took

	// Of a target that fails.
	Failures     int       `json:"failures,omitempty"` // since it last took one
	FailingSince time.Time `json:"failingSince,omitzero"`
	LastError    string    `json:"lastError,omitempty"`
	RetryAt      time.Time `json:"retryAt,omitzero"`

	// Wanted is a height that the chain is known to have: blocks below are to be sent. Lease is who sends them now. Both are for
	// functions, of which many are woken at once.
	Wanted uint64 `json:"wanted,omitempty"`
	Lease  Lease  `json:"lease,omitzero"`

	version string // of the document
}

// A Lease is somebody's right to send, while it lasts.
type Lease struct {
	Owner string    `json:"owner"`
	Until time.Time `json:"until"`
}

var (
	// ErrNotFound: there is no such subscription.
	ErrNotFound = errors.New("there is no such webhook")
	// ErrInvalid: a subscription cannot be. The text says why.
	ErrInvalid = errors.New("not a possible webhook")
	// ErrTooMany: the channel has MaxPerChannel.
	ErrTooMany = errors.New("the channel has too many webhooks")
)

// A Registry keeps subscriptions. Documents and Sealer are required. Safe for concurrent use, and shared by processes.
type Registry struct {
	Documents docstore.Store
	Sealer    secret.Sealer
	// AllowPrivate also takes http URLs, and those of this machine and of private networks.
	AllowPrivate bool
	// Services are those of AWS whose ARNs can be targets: "sns", "events".
	Services []string
	// Changed, if not nil, is called after each change.
	Changed func()
}

// Add makes a subscription; its ID, CreatedAt and Sealed are set here. secretText is the secret of an endpoint, a new one if it is empty,
// and is returned. Errors: ErrInvalid, ErrSecret, ErrTooMany.
func (r *Registry) Add(ctx context.Context, s Subscription, secretText string) (*Subscription, string, error) {
	if err := r.check(&s); err != nil {
		return nil, "", err
	}
	all, err := r.List(ctx, s.Channel)
	if err != nil {
		return nil, "", err
	}
	if len(all) >= MaxPerChannel {
		return nil, "", fmt.Errorf("%w: %d", ErrTooMany, MaxPerChannel)
	}
	var id [8]byte
	rand.Read(id[:]) // never fails
	s.ID, s.CreatedAt = hex.EncodeToString(id[:]), time.Now().UTC().Truncate(time.Second)
	if s.isARN() {
		secretText = ""
	} else {
		if secretText == "" {
			secretText = NewSecret()
		}
		key, err := parseSecret(secretText)
		if err != nil {
			return nil, "", err
		}
		if s.Sealed, err = r.Sealer.Seal(ctx, key, s.purpose()); err != nil {
			return nil, "", fmt.Errorf("seal the webhook's secret: %w", err)
		}
	}
	value, err := json.Marshal(s)
	if err == nil {
		_, err = r.Documents.Put(ctx, docstore.Document{Kind: KindSubscription, ID: s.document(), Value: value})
	}
	if err != nil {
		return nil, "", fmt.Errorf("keep webhook: %w", err)
	}
	r.changed()
	return &s, secretText, nil
}

// purpose binds the sealed secret to its subscription.
func (s *Subscription) purpose() string { return "webhook " + s.document() }

// key opens the subscription's secret.
func (r *Registry) key(ctx context.Context, s *Subscription) ([]byte, error) {
	key, err := r.Sealer.Open(ctx, s.Sealed, s.purpose())
	if err != nil {
		return nil, fmt.Errorf("open the secret of webhook %s: %w", s.ID, err)
	}
	return key, nil
}

func (r *Registry) check(s *Subscription) error {
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("%w: %w", ErrInvalid, fmt.Errorf(format, args...))
	}
	if s.isARN() {
		parts := strings.SplitN(s.URL, ":", 6)
		if len(parts) < 6 || !slices.Contains(r.Services, parts[2]) {
			return refuse("this platform sends to https URLs and to ARNs of %v, not to %.200q", r.Services, s.URL)
		}
		return nil
	}
	u, err := url.Parse(s.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !r.AllowPrivate):
		want := "https://…"
		if r.AllowPrivate {
			want = "https://… or http://…"
		}
		return refuse("want a URL %s, not %.200q", want, s.URL)
	case u.User != nil:
		return refuse("leave user and password out of the URL: requests are signed")
	case u.Fragment != "":
		return refuse("leave #%.50s out of the URL: it is not sent", u.Fragment)
	}
	return nil
}

func (r *Registry) changed() {
	if r.Changed != nil {
		r.Changed()
	}
}

// List returns a channel's subscriptions, or those of all channels if it is empty.
func (r *Registry) List(ctx context.Context, channel string) ([]*Subscription, error) {
	prefix := ""
	if channel != "" {
		prefix = channel + "/"
	}
	var all []*Subscription
	for doc, err := range docstore.All(ctx, r.Documents, KindSubscription, prefix) {
		if err != nil {
			return nil, fmt.Errorf("list webhooks: %w", err)
		}
		s := &Subscription{}
		if err := doc.Decode(s); err != nil {
			return nil, fmt.Errorf("list webhooks: %w", err)
		}
		all = append(all, s)
	}
	return all, nil
}

// Get returns a subscription, or ErrNotFound.
func (r *Registry) Get(ctx context.Context, channel, id string) (*Subscription, error) {
	s := &Subscription{Channel: channel, ID: id}
	doc, err := r.Documents.Get(ctx, KindSubscription, s.document())
	if errors.Is(err, docstore.ErrNotFound) || errors.Is(err, docstore.ErrInvalid) {
		return nil, ErrNotFound
	}
	if err == nil {
		err = doc.Decode(s)
	}
	if err != nil {
		return nil, fmt.Errorf("webhook %s: %w", id, err)
	}
	return s, nil
}

// Remove ends a subscription. An event that is being sent may still arrive. It returns ErrNotFound if there is none.
func (r *Registry) Remove(ctx context.Context, channel, id string) error {
	s, err := r.Get(ctx, channel, id)
	if err != nil {
		return err
	}
	err = r.Documents.Delete(ctx, KindSubscription, s.document(), "")
	if errors.Is(err, docstore.ErrNotFound) {
		return ErrNotFound
	}
	if err == nil {
		if err = r.Documents.Delete(ctx, KindProgress, s.document(), ""); errors.Is(err, docstore.ErrNotFound) {
			err = nil // nothing was sent yet
		}
	}
	if err != nil {
		return fmt.Errorf("remove webhook %s: %w", id, err)
	}
	r.changed()
	return nil
}

// Progress returns how far a subscription has come.
func (r *Registry) Progress(ctx context.Context, s *Subscription) (*Progress, error) {
	doc, err := r.Documents.Get(ctx, KindProgress, s.document())
	if errors.Is(err, docstore.ErrNotFound) {
		return &Progress{Block: s.From}, nil
	}
	p := &Progress{}
	if err == nil {
		err = doc.Decode(p)
	}
	if err != nil {
		return nil, fmt.Errorf("progress of webhook %s: %w", s.ID, err)
	}
	p.version = doc.Version
	return p, nil
}

// save writes a progress, unless another has changed it: docstore.ErrConflict. That of a subscription that was removed is not kept.
func (r *Registry) save(ctx context.Context, s *Subscription, p *Progress) error {
	value, err := json.Marshal(p)
	if err != nil {
		return err
	}
	doc, err := r.Documents.Put(ctx, docstore.Document{Kind: KindProgress, ID: s.document(), Version: p.version, Value: value})
	if err != nil {
		return fmt.Errorf("keep the progress of webhook %s: %w", s.ID, err)
	}
	first := p.version == ""
	p.version = doc.Version
	if !first {
		return nil
	}
	if _, err := r.Get(ctx, s.Channel, s.ID); errors.Is(err, ErrNotFound) {
		return errors.Join(err, r.Documents.Delete(ctx, KindProgress, s.document(), ""))
	}
	return nil
}
