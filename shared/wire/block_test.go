package wire_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"peerless/shared/wire"
)

func TestBlocks(t *testing.T) {
	t.Parallel()
	for _, facts := range golden(t).Blocks {
		t.Run(facts.File, func(t *testing.T) {
			t.Parallel()
			b := goldenBlock(t, facts.File)
			equal(t, "header", wire.HeaderBytes(b.Header), facts.HeaderASN1)
			equal(t, "header hash", wire.HeaderHash(b.Header), facts.HeaderHash)
			equal(t, "data hash", wire.DataHash(b.Data.Data), facts.DataHash)
			equal(t, "previous hash", b.Header.PreviousHash, facts.PreviousHash)
			equal(t, "commit hash", wire.CommitHash(b), facts.Metadata.CommitHash)
			codes, err := wire.ValidationCodes(b)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, code := range codes {
				names = append(names, code.String())
			}
			if diff := cmp.Diff(names, facts.Metadata.Codes); diff != "" {
				t.Errorf("validation codes (-got +want):\n%s", diff)
			}
			signatures, lastConfig, err := wire.BlockSignatures(b)
			if err != nil {
				t.Fatal(err)
			}
			if lastConfig != facts.Metadata.LastConfig {
				t.Errorf("last configuration in block %d, want %d", lastConfig, facts.Metadata.LastConfig)
			}
			if got, want := len(signatures), len(facts.Metadata.Signatures); got != want {
				t.Errorf("%d signatures, want %d", got, want)
			}
			for _, s := range signatures {
				if !bytes.HasSuffix(s.Message, facts.HeaderASN1) {
					t.Errorf("signed message does not end in the header")
				}
			}
		})
	}
}

// A block put together from its parts has the bytes of the real one.
func TestNewBlock(t *testing.T) {
	t.Parallel()
	raw := goldenFile(t, "blocks/alpha-011.pb")
	real := goldenBlock(t, "blocks/alpha-011.pb")
	b := wire.NewBlock(real.Header.Number, real.Header.PreviousHash, real.Data.Data)
	codes, err := wire.ValidationCodes(real)
	if err != nil {
		t.Fatal(err)
	}
	wire.SetValidationCodes(b, codes)
	wire.SetCommitHash(b, wire.CommitHash(real))
	b.Metadata.Metadata[common.BlockMetadataIndex_SIGNATURES] = real.Metadata.Metadata[common.BlockMetadataIndex_SIGNATURES]
	got, err := proto.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "block", got, raw)
}

func TestSignBlock(t *testing.T) {
	t.Parallel()
	b := wire.NewBlock(7, []byte("previous"), [][]byte{[]byte("envelope")})
	var signed []byte
	sign := func(message []byte) ([]byte, error) {
		signed = message
		return []byte("signature"), nil
	}
	if err := wire.SignBlock(b, 3, sign, []byte("creator"), []byte("nonce")); err != nil {
		t.Fatal(err)
	}
	got, lastConfig, err := wire.BlockSignatures(b)
	if err != nil {
		t.Fatal(err)
	}
	want := []wire.SignedData{{Creator: []byte("creator"), Message: signed, Signature: []byte("signature")}}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("signatures (-got +want):\n%s", diff)
	}
	if lastConfig != 3 {
		t.Errorf("last configuration in block %d, want 3", lastConfig)
	}
	refused := errors.New("no key")
	err = wire.SignBlock(b, 3, func([]byte) ([]byte, error) { return nil, refused }, nil, nil)
	if !errors.Is(err, refused) {
		t.Errorf("signer's error is lost: %v", err)
	}
}

func TestParseBlockRefusesOtherData(t *testing.T) {
	t.Parallel()
	b := goldenBlock(t, "blocks/alpha-005.pb")
	b.Data.Data = b.Data.Data[1:]
	raw, err := proto.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wire.ParseBlock(raw); !errors.Is(err, wire.ErrDataHash) {
		t.Errorf("got %v, want ErrDataHash", err)
	}
	if _, err := wire.ParseBlock(nil); !errors.Is(err, wire.ErrDataHash) {
		t.Errorf("no bytes: got %v, want ErrDataHash", err)
	}
	if _, err := wire.ParseBlock([]byte{0xff}); err == nil {
		t.Error("garbage was taken for a block")
	}
}

func TestMetadataThatIsNotThere(t *testing.T) {
	t.Parallel()
	b := &common.Block{Data: &common.BlockData{Data: [][]byte{nil}}}
	if _, err := wire.ValidationCodes(b); !errors.Is(err, wire.ErrNoCodes) {
		t.Errorf("got %v, want ErrNoCodes", err)
	}
	if hash := wire.CommitHash(b); hash != nil {
		t.Errorf("commit hash %x of a block without", hash)
	}
	wire.SetValidationCodes(b, []peer.TxValidationCode{peer.TxValidationCode_INVALID_OTHER_REASON})
	codes, err := wire.ValidationCodes(b)
	if err != nil || codes[0] != peer.TxValidationCode_INVALID_OTHER_REASON {
		t.Errorf("got %v, %v", codes, err)
	}
}

func equal(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s:\ngot  %x\nwant %x", what, got, want)
	}
}
