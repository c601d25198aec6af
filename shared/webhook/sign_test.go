package webhook

import (
	"errors"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestStandardWebhooks: the signature is that of the specification's example
// (https://github.com/standard-webhooks/standard-webhooks, libraries/python/tests).
func TestStandardWebhooks(t *testing.T) {
	t.Parallel()
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	key, err := parseSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	const id, timestamp, body, want = "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", `{"test": 2432232314}`, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	if got := sign(key, id, timestamp, []byte(body)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	header := http.Header{HeaderID: {id}, HeaderTimestamp: {timestamp}, HeaderSignature: {"v1,bm90aGluZw== " + want}}
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(seconds, 0)
	if err := Verify(secret, header, []byte(body), at.Add(4*time.Minute)); err != nil {
		t.Errorf("the example: %v", err)
	}
	for what, c := range map[string]struct {
		secret, body string
		change       func(http.Header)
		now          time.Time
		want         error
	}{
		"another body":      {secret, body + " ", nil, at, ErrSignature},
		"another id":        {secret, body, func(h http.Header) { h.Set(HeaderID, "x") }, at, ErrSignature},
		"another time":      {secret, body, func(h http.Header) { h.Set(HeaderTimestamp, "1614265331") }, at, ErrSignature},
		"no time":           {secret, body, func(h http.Header) { h.Del(HeaderTimestamp) }, at, ErrTimestamp},
		"no signature":      {secret, body, func(h http.Header) { h.Del(HeaderSignature) }, at, ErrSignature},
		"another secret":    {NewSecret(), body, nil, at, ErrSignature},
		"an old one":        {secret, body, nil, at.Add(6 * time.Minute), ErrTimestamp},
		"one of the future": {secret, body, nil, at.Add(-6 * time.Minute), ErrTimestamp},
		"no secret":         {"secret", body, nil, at, ErrSecret},
	} {
		h := header.Clone()
		if c.change != nil {
			c.change(h)
		}
		if err := Verify(c.secret, h, []byte(c.body), c.now); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", what, err, c.want)
		}
	}
}

func TestPublic(t *testing.T) {
	t.Parallel()
	for _, text := range strings.Fields("8.8.8.8 1.1.1.1 2606:4700::1111 2a00:1450:4001::1 100.63.255.255 172.15.0.1 11.0.0.1") {
		if !public(netip.MustParseAddr(text)) {
			t.Errorf("%s is refused", text)
		}
	}
	for _, text := range strings.Fields("127.0.0.1 127.8.8.8 0.0.0.0 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 169.254.169.254 169.254.170.2 100.64.0.1 198.18.0.1 " +
		"224.0.0.1 240.0.0.1 255.255.255.255 ::1 :: ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::127.0.0.1 fe80::1 fe80::1%eth0 fc00::1 fd00:ec2::254 ff02::1 64:ff9b::7f00:1 " +
		"2002:7f00:1:: 2001:db8::1 fec0::1 192.0.2.1 203.0.113.9") {
		if public(netip.MustParseAddr(text)) {
			t.Errorf("%s is allowed", text)
		}
	}
}
