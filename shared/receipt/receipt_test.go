package receipt_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"peerless/shared/receipt"
	"peerless/shared/wire"
)

// chain is a channel of a real Fabric network, and its log.
type chain struct {
	name   string
	blocks []*common.Block
	log    receipt.Tree
	signer *receipt.Signer
}

func loadChain(t testing.TB, name string) *chain {
	t.Helper()
	files, err := filepath.Glob("../../testdata/conformance/wire/blocks/" + name + "-*.pb")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d blocks of %s: %v", len(files), name, err)
	}
	c := &chain{name: name}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		block, err := wire.ParseBlock(raw)
		if err != nil {
			t.Fatal(err)
		}
		tree, err := receipt.TreeOf(block)
		if err != nil {
			t.Fatal(err)
		}
		root, err := tree.Root()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.log.Add(receipt.BlockHash(block.Header, tree.Size(), root)); err != nil {
			t.Fatal(err)
		}
		c.blocks = append(c.blocks, block)
	}
	c.signer = newSigner(t, receipt.Origin(name, wire.HeaderHash(c.blocks[0].Header)), 1)
	return c
}

// newSigner has a key made of one byte.
func newSigner(t testing.TB, origin string, seed byte) *receipt.Signer {
	t.Helper()
	signer, err := receipt.NewSigner(origin, ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func (c *chain) receipt(t testing.TB, block, index int) *receipt.Receipt {
	t.Helper()
	r, err := receipt.New(c.name, c.blocks[block], uint64(index), c.log.Size(), &c.log, c.signer)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// crowded is a block with several transactions.
func (c *chain) crowded(t testing.TB) int {
	t.Helper()
	for n, block := range c.blocks {
		if len(block.Data.Data) > 2 {
			return n
		}
	}
	t.Fatal("no block has more than two transactions")
	return 0
}

func format(t testing.TB, r *receipt.Receipt) []byte {
	t.Helper()
	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestEveryTransaction: each transaction of two real channels has a receipt, whatever the log's size then, that holds after it was
// written and read.
func TestEveryTransaction(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"alpha", "beta"} {
		c := loadChain(t, name)
		for n, block := range c.blocks {
			for i := range block.Data.Data {
				for _, size := range []uint64{uint64(n) + 1, (uint64(n) + 1 + c.log.Size()) / 2, c.log.Size()} {
					made, err := receipt.New(name, block, uint64(i), size, &c.log, c.signer)
					if err != nil {
						t.Fatal(err)
					}
					r, err := receipt.Parse(format(t, made))
					if err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff(r, made, cmpopts.EquateEmpty()); diff != "" {
						t.Errorf("read (-) and written (+):\n%s", diff)
					}
					if err := receipt.Verify(r, c.signer.VerifierKey()); err != nil {
						t.Errorf("%s %d.%d of %d: %v", name, n, i, size, err)
					}
				}
			}
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	c := loadChain(t, "alpha")
	if _, err := receipt.New(c.name, c.blocks[3], 99, c.log.Size(), &c.log, c.signer); err == nil {
		t.Error("a position that the block does not have")
	}
	if _, err := receipt.New(c.name, c.blocks[3], 0, 3, &c.log, c.signer); err == nil {
		t.Error("a log that does not have the block")
	}
	if _, err := receipt.New(c.name, c.blocks[3], 0, c.log.Size()+1, &c.log, c.signer); err == nil {
		t.Error("a size that the log does not have")
	}
	if _, err := receipt.TreeOf(&common.Block{Data: &common.BlockData{Data: [][]byte{{}}}}); !errors.Is(err, receipt.ErrForm) {
		t.Errorf("a block without verdicts: got %v", err)
	}
	if _, err := receipt.NewSigner("a b", ed25519.NewKeyFromSeed(make([]byte, 32))); err == nil {
		t.Error("a name with a space")
	}
	if _, err := receipt.NewSigner("a", nil); err == nil {
		t.Error("no key")
	}
}

// TestTampering changes each field, and says which step of the proof notices.
func TestTampering(t *testing.T) {
	t.Parallel()
	c := loadChain(t, "alpha")
	other := newSigner(t, c.signer.Name(), 2)
	crowded := c.crowded(t)
	flip := func(h tlog.Hash) tlog.Hash { h[31] ^= 1; return h }
	resign := func(r *receipt.Receipt, signer *receipt.Signer, change func(*receipt.Checkpoint)) {
		opened, err := receipt.OpenCheckpoint(r.Checkpoint, r.VerifierKey)
		if err != nil {
			t.Fatal(err)
		}
		change(opened)
		if r.Checkpoint, err = signer.Checkpoint(opened.Size, opened.Root); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name   string
		change func(*receipt.Receipt)
		step   receipt.Step
	}{
		{"channel", func(r *receipt.Receipt) { r.Channel = "beta" }, receipt.StepCheckpoint},
		{"no channel", func(r *receipt.Receipt) { r.Channel = "" }, receipt.StepCheckpoint},
		{"key", func(r *receipt.Receipt) { r.VerifierKey = other.VerifierKey() }, receipt.StepCheckpoint},
		{"another's checkpoint", func(r *receipt.Receipt) { resign(r, other, func(*receipt.Checkpoint) {}) }, receipt.StepCheckpoint},
		{"another log's checkpoint", func(r *receipt.Receipt) {
			resign(r, newSigner(t, "peerless/alpha/ffffffffffffffffffffffffffffffff", 1), func(*receipt.Checkpoint) {})
		}, receipt.StepCheckpoint},
		{"no checkpoint", func(r *receipt.Receipt) { r.Checkpoint = "" }, receipt.StepCheckpoint},
		{"checkpoint without signature", func(r *receipt.Receipt) { r.Checkpoint, _, _ = strings.Cut(r.Checkpoint, "—") }, receipt.StepCheckpoint},
		{"size in the checkpoint", func(r *receipt.Receipt) {
			r.Checkpoint = strings.Replace(r.Checkpoint, fmt.Sprintf("\n%d\n", c.log.Size()), fmt.Sprintf("\n%d\n", c.log.Size()+1), 1)
		}, receipt.StepCheckpoint},

		{"id", func(r *receipt.Receipt) { r.TransactionID = strings.Repeat("0", 64) }, receipt.StepEnvelope},
		{"no code", func(r *receipt.Receipt) { r.Code = "" }, receipt.StepEnvelope},
		{"unknown code", func(r *receipt.Receipt) { r.Code = "valid" }, receipt.StepEnvelope},
		{"no envelope", func(r *receipt.Receipt) { r.Envelope = nil }, receipt.StepEnvelope},
		{"another envelope", func(r *receipt.Receipt) { r.Envelope = c.blocks[crowded].Data.Data[1] }, receipt.StepEnvelope},
		{"the id's first byte in the envelope", func(r *receipt.Receipt) {
			r.Envelope = bytes.Replace(r.Envelope, []byte(r.TransactionID), append([]byte{'x'}, r.TransactionID[1:]...), 1)
		}, receipt.StepEnvelope},

		{"last byte of the envelope", func(r *receipt.Receipt) {
			r.Envelope = bytes.Clone(r.Envelope)
			r.Envelope[len(r.Envelope)-1] ^= 1
		}, receipt.StepBlock},
		{"another code", func(r *receipt.Receipt) { r.Code = "PHANTOM_READ_CONFLICT" }, receipt.StepBlock},
		{"index", func(r *receipt.Receipt) { r.Index++ }, receipt.StepBlock},
		{"index beyond", func(r *receipt.Receipt) { r.Index = r.Transactions }, receipt.StepBlock},
		{"index far beyond", func(r *receipt.Receipt) { r.Index = 1 << 63 }, receipt.StepBlock},
		{"no transactions", func(r *receipt.Receipt) { r.Transactions = 0 }, receipt.StepBlock},
		{"too many transactions", func(r *receipt.Receipt) { r.Transactions = 1 << 63 }, receipt.StepBlock},
		{"root of the transactions", func(r *receipt.Receipt) { r.TransactionsRoot = flip(r.TransactionsRoot) }, receipt.StepBlock},
		{"proof in the block", func(r *receipt.Receipt) { r.TransactionProof[0] = flip(r.TransactionProof[0]) }, receipt.StepBlock},
		{"proof in the block cut short", func(r *receipt.Receipt) { r.TransactionProof = r.TransactionProof[1:] }, receipt.StepBlock},
		{"proof in the block drawn out", func(r *receipt.Receipt) { r.TransactionProof = append(r.TransactionProof, tlog.Hash{}) }, receipt.StepBlock},

		{"block number", func(r *receipt.Receipt) { r.BlockNumber++ }, receipt.StepLog},
		{"number in the header", func(r *receipt.Receipt) { r.Header.Number++ }, receipt.StepLog},
		{"both numbers", func(r *receipt.Receipt) { r.Header.Number++; r.BlockNumber++ }, receipt.StepLog},
		{"numbers far beyond", func(r *receipt.Receipt) { r.Header.Number, r.BlockNumber = 1<<63, 1<<63 }, receipt.StepLog},
		{"previous hash", func(r *receipt.Receipt) { r.Header.PreviousHash = r.Header.DataHash }, receipt.StepLog},
		{"data hash", func(r *receipt.Receipt) { r.Header.DataHash = nil }, receipt.StepLog},
		{"proof in the log", func(r *receipt.Receipt) { r.LogProof[1] = flip(r.LogProof[1]) }, receipt.StepLog},
		{"no proof in the log", func(r *receipt.Receipt) { r.LogProof = nil }, receipt.StepLog},
		{"another root, signed", func(r *receipt.Receipt) {
			resign(r, c.signer, func(c *receipt.Checkpoint) { c.Root = flip(c.Root) })
		}, receipt.StepLog},
		{"a smaller size, signed", func(r *receipt.Receipt) {
			resign(r, c.signer, func(c *receipt.Checkpoint) { c.Size = r.BlockNumber })
		}, receipt.StepLog},
	} {
		r := c.receipt(t, crowded, 0)
		if err := receipt.Verify(r, c.signer.VerifierKey()); err != nil {
			t.Fatalf("untouched: %v", err)
		}
		test.change(r)
		var failed *receipt.Error
		if err := receipt.Verify(r, c.signer.VerifierKey()); !errors.As(err, &failed) || failed.Step != test.step {
			t.Errorf("%s: got %v, want that the %s does not hold", test.name, err, test.step)
		}
	}
}

// TestTransactionCount: a proof alone can fit trees of two sizes. The number of transactions is in the block's leaf, so that it
// cannot be changed either.
func TestTransactionCount(t *testing.T) {
	t.Parallel()
	c := loadChain(t, "alpha")
	noticed := 0
	for n, block := range c.blocks {
		for i := range block.Data.Data {
			r := c.receipt(t, n, i)
			r.Transactions++
			var failed *receipt.Error
			if err := receipt.Verify(r, c.signer.VerifierKey()); !errors.As(err, &failed) {
				t.Errorf("%d.%d with a transaction more: got %v", n, i, err)
			} else if failed.Step == receipt.StepLog {
				noticed++
			}
		}
	}
	if noticed == 0 {
		t.Error("every proof was of one size: nothing was tested")
	}
}

// TestInvalidAsValid: a transaction that is recorded as invalid has a receipt for that, and none as a valid one.
func TestInvalidAsValid(t *testing.T) {
	t.Parallel()
	c := loadChain(t, "alpha")
	invalid := 0
	for n, block := range c.blocks {
		for i := range block.Data.Data {
			r := c.receipt(t, n, i)
			if r.Code == "VALID" {
				continue
			}
			invalid++
			if err := receipt.Verify(r, c.signer.VerifierKey()); err != nil {
				t.Errorf("%d.%d is %s: %v", n, i, r.Code, err)
			}
			r.Code = "VALID"
			var failed *receipt.Error
			if err := receipt.Verify(r, c.signer.VerifierKey()); !errors.As(err, &failed) || failed.Step != receipt.StepBlock {
				t.Errorf("%d.%d as a valid one: got %v", n, i, err)
			}
		}
	}
	if invalid < 5 {
		t.Errorf("%d transactions are invalid: too little was tested", invalid)
	}
}

// TestImpossible: not even who holds the key can make a receipt of what cannot be valid as a valid transaction.
func TestImpossible(t *testing.T) {
	t.Parallel()
	alpha := loadChain(t, "alpha")
	genuine := alpha.receipt(t, alpha.crowded(t), 0)
	for name, envelope := range map[string][]byte{
		"another channel's": loadChain(t, "beta").blocks[0].Data.Data[0],
		"with another id":   bytes.Replace(genuine.Envelope, []byte(genuine.TransactionID), []byte(strings.Repeat("0", 64)), 1),
		"nothing":           {},
		"noise":             []byte("noise"),
	} {
		for code, want := range map[peer.TxValidationCode]bool{peer.TxValidationCode_VALID: false, peer.TxValidationCode_BAD_PROPOSAL_TXID: len(envelope) > 5} {
			block := wire.NewBlock(0, nil, [][]byte{envelope})
			wire.SetValidationCodes(block, []peer.TxValidationCode{code})
			tree, err := receipt.TreeOf(block)
			if err != nil {
				t.Fatal(err)
			}
			root, err := tree.Root()
			if err != nil {
				t.Fatal(err)
			}
			var log receipt.Tree
			if err := log.Add(receipt.BlockHash(block.Header, 1, root)); err != nil {
				t.Fatal(err)
			}
			r, err := receipt.New("alpha", block, 0, 1, &log, alpha.signer)
			if err != nil {
				t.Fatal(err)
			}
			err = receipt.Verify(r, alpha.signer.VerifierKey())
			var failed *receipt.Error
			if got := err == nil; got != want || !got && (!errors.As(err, &failed) || failed.Step != receipt.StepEnvelope) {
				t.Errorf("%s as %s: got %v", name, code, err)
			}
		}
	}
}

// TestEveryByte changes each byte of a receipt's JSON in turn: it is refused, or says the same as before.
func TestEveryByte(t *testing.T) {
	t.Parallel()
	c := loadChain(t, "alpha")
	original := c.receipt(t, c.crowded(t), 1)
	raw := format(t, original)
	step := 1
	if testing.Short() {
		step = 7
	}
	steps := map[string]int{}
	for i := 0; i < len(raw); i += step {
		for _, mask := range []byte{0x01, 0x20} {
			changed := bytes.Clone(raw)
			changed[i] ^= mask
			r, err := receipt.Parse(changed)
			if err == nil {
				err = receipt.Verify(r, c.signer.VerifierKey())
			}
			var failed *receipt.Error
			switch {
			case errors.As(err, &failed):
				steps[string(failed.Step)]++
			case errors.Is(err, receipt.ErrForm):
				steps["form"]++
			case err != nil:
				t.Errorf("byte %d: got %v, which is neither", i, err)
			case !cmp.Equal(r, original):
				t.Errorf("byte %d: %q became %q, and nobody noticed", i, raw[i], changed[i])
			}
		}
	}
	for _, step := range []receipt.Step{receipt.StepCheckpoint, receipt.StepEnvelope, receipt.StepBlock, receipt.StepLog, "form"} {
		if steps[string(step)] == 0 {
			t.Errorf("%s never noticed anything: %v", step, steps)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "null x", "[]", `"x"`, `{"channel":1}`, `{"nothing":1}`, `{}{}`, `{"header":{"previousHash":"0"}}`,
		`{"transactionsRoot":"AA=="}`, `{"blockNumber":-1}`, `{"blockNumber":18446744073709551616}`, `{"envelope":"?"}`} {
		if _, err := receipt.Parse([]byte(text)); !errors.Is(err, receipt.ErrForm) {
			t.Errorf("%s: got %v", text, err)
		}
	}
	if _, err := receipt.Parse(append([]byte("{}"), make([]byte, receipt.MaxSize)...)); !errors.Is(err, receipt.ErrForm) {
		t.Errorf("too large: got %v", err)
	}
	if err := receipt.Verify(&receipt.Receipt{VerifierKey: "x"}, "x"); !errors.Is(err, receipt.ErrForm) {
		t.Errorf("no key: got %v", err)
	}
}

// TestCheckpoints: the text is c2sp.org/tlog-checkpoint's, a witness may sign beside the platform, and what is not written in the
// one way there is, is refused even if it is signed.
func TestCheckpoints(t *testing.T) {
	t.Parallel()
	signer := newSigner(t, receipt.Origin("main", bytes.Repeat([]byte{0xab}, 32)), 1)
	signed, err := signer.Checkpoint(7, tlog.Hash{1})
	if err != nil {
		t.Fatal(err)
	}
	const text = "peerless/main/abababababababababababababababab\n7\nAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
	if !strings.HasPrefix(signed, text+"\n— peerless/main/abababababababababababababababab ") {
		t.Errorf("got %s", signed)
	}
	sign := func(text string, signers ...note.Signer) string {
		raw, err := note.Sign(&note.Note{Text: text}, signers...)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	want := &receipt.Checkpoint{Origin: "peerless/main/abababababababababababababababab", Size: 7, Root: tlog.Hash{1}}
	witness := newSigner(t, "witness.example/w1", 9)
	for _, good := range []string{signed, sign(text, signer, witness), sign(text+"extension\n", signer)} {
		got, err := receipt.OpenCheckpoint(good, signer.VerifierKey())
		if err != nil || !cmp.Equal(got, want) {
			t.Errorf("%s: got %+v, %v", good, got, err)
		}
	}
	for _, bad := range []string{
		"\n7\nAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n", "x\n", "peerless/main/abababababababababababababababab\n7\n",
		strings.Replace(text, "\n7\n", "\n07\n", 1), strings.Replace(text, "\n7\n", "\n-7\n", 1), strings.Replace(text, "\n7\n", "\n9223372036854775808\n", 1),
		strings.Replace(text, "AQA", "AQ", 1), strings.Replace(text, "AA=", "AB=", 1), strings.Replace(text, "main", "other", 1),
	} {
		var failed *receipt.Error
		if got, err := receipt.OpenCheckpoint(sign(bad, signer), signer.VerifierKey()); !errors.As(err, &failed) {
			t.Errorf("%q: got %+v, %v", bad, got, err)
		}
	}
	if _, err := receipt.OpenCheckpoint(sign(text, witness), signer.VerifierKey()); err == nil {
		t.Error("a checkpoint that only a witness signed")
	}
}
