package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A Message is an event on its way.
type Message struct {
	ID   string // the same whenever it is sent
	Body []byte // JSON
	Name string // of the event
}

// A Target sends messages to where a subscription says. An error means that it is to be sent again.
type Target interface {
	Send(ctx context.Context, s *Subscription, m *Message) error
}

const (
	// endpointTime is how long an endpoint may take.
	endpointTime = 10 * time.Second
	// maxComplaint is how much of an endpoint's answer is kept.
	maxComplaint = 200
)

// Endpoints sends to URLs.
type Endpoints struct {
	registry *Registry
	client   *http.Client
}

// NewEndpoints returns the target of URLs, which keeps to what the registry allows.
func NewEndpoints(r *Registry) *Endpoints {
	dialer := &net.Dialer{Timeout: endpointTime}
	if !r.AllowPrivate {
		dialer.Control = refusePrivate
	}
	return &Endpoints{registry: r, client: &http.Client{
		Timeout:       endpointTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{ // no proxy: it would connect for us
			DialContext: dialer.DialContext, ForceAttemptHTTP2: true, MaxIdleConns: 100, MaxIdleConnsPerHost: 2, IdleConnTimeout: 30 * time.Second,
			TLSHandshakeTimeout: endpointTime, MaxResponseHeaderBytes: 64 << 10,
		},
	}}
}

// ErrPrivate: a URL leads to an address that is not of the public internet.
var ErrPrivate = errors.New("the address is not one of the public internet, and is refused")

// refusePrivate is called with the address that is about to be connected to, after names were resolved.
func refusePrivate(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil || !public(at.Addr()) {
		return fmt.Errorf("%s: %w", address, ErrPrivate)
	}
	return nil
}

// reserved are networks, other than those that package netip knows, in which no public endpoint is
// (https://www.iana.org/assignments/iana-ipv4-special-registry, …-ipv6-…).
var reserved = func() []netip.Prefix {
	var list []netip.Prefix
	for _, text := range strings.Fields("0.0.0.0/8 100.64.0.0/10 192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4 " +
		"::/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 2001::/23 2001:db8::/32 2002::/16 fec0::/10") {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}()

// public reports whether an address is one of the public internet.
func public(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if !a.IsGlobalUnicast() || a.IsPrivate() { // loopback, link-local and multicast are not global unicast
		return false
	}
	for _, network := range reserved {
		if network.Contains(a) {
			return false
		}
	}
	return true
}

// Send implements Target.
func (e *Endpoints) Send(ctx context.Context, s *Subscription, m *Message) error {
	key, err := e.registry.key(ctx, s)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL, bytes.NewReader(m.Body))
	if err != nil {
		return err
	}
	timestamp := strconv.FormatInt(time.Now().Unix(), 10)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "Peerless-Webhook/1")
	request.Header.Set(HeaderID, m.ID)
	request.Header.Set(HeaderTimestamp, timestamp)
	request.Header.Set(HeaderSignature, sign(key, m.ID, timestamp, m.Body))
	response, err := e.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(response.Body, maxComplaint)) // what it says is only shown
	if response.StatusCode/100 == 2 {
		return nil
	}
	if location := response.Header.Get("Location"); response.StatusCode/100 == 3 && location != "" {
		return fmt.Errorf("the endpoint answered %s, to %.200s: redirects are not followed, subscribe with the final URL", response.Status, location)
	}
	return fmt.Errorf("the endpoint answered %s: %s", response.Status, strings.ToValidUTF8(string(said), "\uFFFD"))
}
