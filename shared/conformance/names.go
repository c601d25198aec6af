package conformance

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// names replaces what differs from run to run by what it stands for.
type names struct {
	labels map[string]string // transaction id to label; the first proposal's, if several have it
	times  map[string]string // timestamp in RFC 3339 with nanoseconds to label
}

func newNames() *names {
	return &names{labels: map[string]string{}, times: map[string]string{}}
}

func (n *names) add(label, txID string, timestamp time.Time) {
	if _, known := n.labels[txID]; !known {
		n.labels[txID] = label
	}
	n.times[timestamp.UTC().Format(time.RFC3339Nano)] = label
}

var (
	txIDs     = regexp.MustCompile(`\b[0-9a-f]{64}\b`)
	times     = regexp.MustCompile(`\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( [+-]\d{4}( [A-Z]{3,4})?( m=[+-][\d.]+)?|Z|[+-]\d\d:\d\d)`)
	versions  = regexp.MustCompile(`\{BlockNum: \d+, TxNum: \d+\}`)
	packages  = regexp.MustCompile(`[A-Za-z0-9._+-]+:[0-9a-f]{64}\b`)
	longHex   = regexp.MustCompile(`\b[0-9a-f]{32,}\b`)
	addresses = regexp.MustCompile(`\b(localhost|[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+):\d+\b`)
)

// text names transactions, times and versions in any string.
func (n *names) text(s string) string {
	s = txIDs.ReplaceAllStringFunc(s, func(id string) string {
		if label, ok := n.labels[id]; ok {
			return "<tx:" + label + ">"
		}
		return id
	})
	s = times.ReplaceAllStringFunc(s, func(t string) string {
		if label, ok := n.times[t]; ok {
			return "<time:" + label + ">"
		}
		return "<time>"
	})
	return versions.ReplaceAllString(s, "<version>")
}

// message is for the text of an error: there every time is just that, and addresses, package ids and hashes are taken out.
func (n *names) message(s string) string {
	s = n.text(times.ReplaceAllString(s, "<time>"))
	s = packages.ReplaceAllString(s, "<package>")
	s = longHex.ReplaceAllString(s, "<hex>")
	return addresses.ReplaceAllString(s, "<address>")
}

// deep names what is in all strings of a JSON value.
func (n *names) deep(value any) any {
	switch value := value.(type) {
	case string:
		return n.text(value)
	case []any:
		for i := range value {
			value[i] = n.deep(value[i])
		}
	case map[string]any:
		for name := range value {
			value[name] = n.deep(value[name])
		}
	}
	return value
}

// hashedFrom is the length in bytes from which results show a value by its hash.
const hashedFrom = 2048

// bytes shows bytes: none as null, long ones by their hash, UTF-8 as a string, others in base64.
func (n *names) bytes(b []byte) any {
	switch {
	case len(b) == 0:
		return nil
	case len(b) >= hashedFrom:
		hash := sha256.Sum256(b)
		return object{"sha256": hex.EncodeToString(hash[:]), "length": len(b)}
	case utf8.Valid(b):
		return n.text(string(b))
	}
	return object{"base64": base64.StdEncoding.EncodeToString(b)}
}

// payload shows a chaincode's result, or an event's payload: a JSON array or object as what it is, anything else as bytes.
func (n *names) payload(b []byte) any {
	if isStructure(b) {
		if value, err := generic(b); err == nil {
			return n.deep(value)
		}
	}
	return n.bytes(b)
}

// anyone stands for the organisation in a detail that whichever endorser answers second causes.
const anyone = "*"

// failure shows an error: its stage, gRPC status and details.
func (n *names) failure(stage string, err error) object {
	st := statusOf(err)
	message := st.Message()
	if st.Code() == codes.DeadlineExceeded {
		message = strings.TrimPrefix(message, "context ")
	}
	shown := object{"stage": stage, "code": code.Code(st.Code()).String(), "message": n.message(message)}
	var details []object
	for _, detail := range st.Details() {
		d, ok := detail.(*gateway.ErrorDetail)
		if !ok {
			continue
		}
		mspID := d.GetMspId()
		if d.GetMessage() == "ProposalResponsePayloads do not match" {
			mspID = anyone
		}
		details = append(details, object{"mspId": mspID, "message": n.message(d.GetMessage())})
	}
	slices.SortFunc(details, func(a, b object) int {
		return cmp.Or(
			cmp.Compare(a["mspId"].(string), b["mspId"].(string)),
			cmp.Compare(a["message"].(string), b["message"].(string)))
	})
	put(shown, "details", details)
	return shown
}

func statusOf(err error) *status.Status {
	var carrier interface{ GRPCStatus() *status.Status }
	switch {
	case errors.As(err, &carrier):
		return carrier.GRPCStatus()
	case errors.Is(err, context.DeadlineExceeded):
		return status.New(codes.DeadlineExceeded, context.DeadlineExceeded.Error())
	}
	return status.New(codes.Unknown, err.Error())
}
