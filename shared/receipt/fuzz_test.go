package receipt_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"peerless/shared/receipt"
)

// FuzzReceipt: nothing panics, and what holds under the key of two receipts is one of the two.
func FuzzReceipt(f *testing.F) {
	c := loadChain(f, "alpha")
	crowded := c.crowded(f)
	genuine := []*receipt.Receipt{c.receipt(f, crowded, 0), c.receipt(f, len(c.blocks)-1, 0)}
	key := c.signer.VerifierKey()
	for _, r := range genuine {
		f.Add(format(f, r))
	}
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := receipt.Parse(raw)
		if err != nil || receipt.Verify(r, key) != nil {
			return
		}
		text, _, _ := bytes.Cut([]byte(r.Checkpoint), []byte("\n\n"))
		for _, g := range genuine {
			same, _, _ := bytes.Cut([]byte(g.Checkpoint), []byte("\n\n"))
			if bytes.Equal(text, same) && cmp.Equal(r, g, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(receipt.Receipt{}, "Checkpoint")) {
				return
			}
		}
		t.Errorf("%s holds, and nobody made it", raw)
	})
}
