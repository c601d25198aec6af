package webhook

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers of a request.
const (
	HeaderID        = "Webhook-Id"
	HeaderTimestamp = "Webhook-Timestamp"
	HeaderSignature = "Webhook-Signature"
)

const (
	secretPrefix    = "whsec_"
	signaturePrefix = "v1,"
	// Keys have between 24 and 64 bytes, Standard Webhooks says.
	minKey, maxKey = 24, 64
)

// NewSecret returns a random secret.
func NewSecret() string {
	var key [32]byte
	rand.Read(key[:]) // never fails
	return secretPrefix + base64.StdEncoding.EncodeToString(key[:])
}

// ErrSecret: a text is not a secret.
var ErrSecret = errors.New("not a webhook's secret: want whsec_ and 24 to 64 bytes in base64")

func parseSecret(secret string) ([]byte, error) {
	encoded, ok := strings.CutPrefix(secret, secretPrefix)
	key, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil || len(key) < minKey || len(key) > maxKey {
		return nil, ErrSecret
	}
	return key, nil
}

// sign returns the signature of a request.
func sign(key []byte, id, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.", id, timestamp)
	mac.Write(body)
	return signaturePrefix + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// Tolerance is how old a request may be, or how far ahead, that Verify accepts.
const Tolerance = 5 * time.Minute

// Errors of Verify.
var (
	ErrSignature = errors.New("the webhook's signature does not match: it was not sent with this secret, or was changed")
	ErrTimestamp = errors.New("the webhook is too old, or from the future: it may be a replay")
)

// Verify checks that a request was signed with the secret, within Tolerance of now. body is all of the request's body, as it came.
// What it accepts may still have been seen before: Webhook-Id tells.
func Verify(secret string, header http.Header, body []byte, now time.Time) error {
	key, err := parseSecret(secret)
	if err != nil {
		return err
	}
	timestamp := header.Get(HeaderTimestamp)
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return ErrTimestamp
	}
	want := sign(key, header.Get(HeaderID), timestamp, body)
	valid := false
	// There may be several, after a change of the secret.
	for signature := range strings.FieldsSeq(header.Get(HeaderSignature)) {
		valid = hmac.Equal([]byte(signature), []byte(want)) || valid
	}
	if !valid {
		return ErrSignature
	}
	if off := now.Sub(time.Unix(seconds, 0)); off > Tolerance || off < -Tolerance {
		return ErrTimestamp
	}
	return nil
}
