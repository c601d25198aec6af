package contracttest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/ledger"
)

type idle struct{}

func (idle) Init(shim.ChaincodeStubInterface) *peer.Response   { return shim.Success(nil) }
func (idle) Invoke(shim.ChaincodeStubInterface) *peer.Response { return shim.Success(nil) }

// witness is a test whose end can be looked at.
type witness struct {
	*testing.T
	cleanups []func()
	errors   []string
}

func (w *witness) Cleanup(f func()) { w.cleanups = append(w.cleanups, f) }
func (w *witness) Errorf(format string, args ...any) {
	w.errors = append(w.errors, fmt.Sprintf(format, args...))
}

func TestEveryTestEndsInAnAudit(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		damage func(*testing.T, *Ledger)
		want   string
	}{
		{"sound", func(*testing.T, *Ledger) {}, ""},
		{"a block of another number", func(t *testing.T, l *Ledger) {
			height, err := l.store.Height(context.Background(), l.channel)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := l.store.Block(context.Background(), l.channel, height-1)
			if err != nil {
				t.Fatal(err)
			}
			if err := l.store.Append(context.Background(), l.channel, raw, &ledger.Batch{Block: height}); err != nil {
				t.Fatal(err)
			}
		}, "audit failed"},
	} {
		w := &witness{T: t}
		l := New(w, idle{})
		l.MustSubmit("anything")
		test.damage(t, l)
		for _, f := range slices.Backward(w.cleanups) {
			f()
		}
		if got := strings.Join(w.errors, "\n"); (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%s: the audit said %q, want %q", test.name, got, test.want)
		}
	}
}
