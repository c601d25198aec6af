package receipt_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"golang.org/x/mod/sumdb/tlog"

	"peerless/shared/receipt"
)

// TestEncoding keeps the records as they are documented: a receipt must hold in ten years. The hashes are SHA-256 over the bytes
// written out here, with RFC 6962's leading 0.
func TestEncoding(t *testing.T) {
	t.Parallel()
	digest := sha256.Sum256([]byte("envelope"))
	record := append([]byte{0, 0, 0, 0, 0, 0, 0, 1, 2, 11}, digest[:]...)
	if got, want := receipt.TransactionHash(258, peer.TxValidationCode_MVCC_READ_CONFLICT, digest), tlog.Hash(sha256.Sum256(record)); got != want {
		t.Errorf("transaction: got %v, want %v", got, want)
	}
	record = append([]byte{0, 0x30, 0x0b, 0x02, 0x01, 0x05, 0x04, 0x02, 0xaa, 0xbb, 0x04, 0x02, 0xcc, 0xdd, 0, 0, 0, 0, 0, 0, 0, 3}, bytes.Repeat([]byte{9}, 32)...)
	header := &common.BlockHeader{Number: 5, PreviousHash: []byte{0xaa, 0xbb}, DataHash: []byte{0xcc, 0xdd}}
	root := tlog.Hash(bytes.Repeat([]byte{9}, 32))
	if got, want := receipt.BlockHash(header, 3, root), tlog.Hash(sha256.Sum256(record)); got != want {
		t.Errorf("block: got %v, want %v", got, want)
	}
}

// TestTreeVectors: roots of the trees that Certificate Transparency's implementations test with.
func TestTreeVectors(t *testing.T) {
	t.Parallel()
	leaves := []string{"", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"}
	roots := []string{
		"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d", "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
		"aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77", "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
		"4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4", "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
		"ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c", "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
	}
	tree := &receipt.Tree{}
	for i, leaf := range leaves {
		data, err := hex.DecodeString(leaf)
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Add(tlog.RecordHash(data)); err != nil {
			t.Fatal(err)
		}
		root, err := tree.Root()
		if err != nil || hex.EncodeToString(root[:]) != roots[i] {
			t.Errorf("root of %d: got %x, %v, want %s", i+1, root, err, roots[i])
		}
	}
}

// BenchmarkBlockTree is what the log adds to a block of 100 transactions beside their digests.
func BenchmarkBlockTree(b *testing.B) {
	digest := sha256.Sum256(nil)
	for b.Loop() {
		var tree receipt.Tree
		for i := range uint64(100) {
			if err := tree.Add(receipt.TransactionHash(i, 0, digest)); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := tree.Root(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEnvelopeDigest is what it adds to a transaction of 4 KiB.
func BenchmarkEnvelopeDigest(b *testing.B) {
	envelope := make([]byte, 4096)
	b.SetBytes(int64(len(envelope)))
	for b.Loop() {
		sha256.Sum256(envelope)
	}
}
