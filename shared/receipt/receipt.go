package receipt

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"golang.org/x/mod/sumdb/tlog"

	"peerless/shared/wire"
)

// ErrForm: this is not a receipt, a key or a block as it should be, whatever it says.
var ErrForm = errors.New("not in the form it should have")

// MaxSize of a receipt in bytes: a transaction of 5 MiB in base64, and room for the rest.
const MaxSize = 8 << 20

// A Receipt is a transaction with all that it takes to prove its place and its verdict.
type Receipt struct {
	Channel       string `json:"channel"`
	TransactionID string `json:"transactionId"`
	BlockNumber   uint64 `json:"blockNumber"`
	Index         uint64 `json:"index"` // position in the block, from 0
	Code          string `json:"code"`  // Fabric's name of the validation code
	Envelope      []byte `json:"envelope"`

	Header           Header      `json:"header"`           // of the block
	Transactions     uint64      `json:"transactions"`     // how many the block has
	TransactionsRoot tlog.Hash   `json:"transactionsRoot"` // of the tree over them
	TransactionProof []tlog.Hash `json:"transactionProof"` // that the transaction is in it
	LogProof         []tlog.Hash `json:"logProof"`         // that the block is in the log

	Checkpoint string `json:"checkpoint"` // a signed note: the log's size and root

	// VerifierKey is the key that signed the checkpoint, as the platform says. To rely on it, compare it with one that came
	// another way.
	VerifierKey string `json:"verifierKey"`
}

// A Header is a block's. Its hashes are hex in JSON.
type Header struct {
	Number       uint64   `json:"number"`
	PreviousHash hexBytes `json:"previousHash"`
	DataHash     hexBytes `json:"dataHash"`
}

type hexBytes []byte

// MarshalText implements encoding.TextMarshaler.
func (b hexBytes) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, b), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *hexBytes) UnmarshalText(text []byte) (err error) {
	*b, err = hex.DecodeString(string(text))
	return err
}

func (h *Header) block() *common.BlockHeader {
	return &common.BlockHeader{Number: h.Number, PreviousHash: h.PreviousHash, DataHash: h.DataHash}
}

// New makes the receipt of the transaction at a position of a block, from the log at a size and its signer.
func New(channel string, block *common.Block, index uint64, size uint64, log tlog.HashReader, signer *Signer) (*Receipt, error) {
	fail := func(err error) (*Receipt, error) {
		return nil, fmt.Errorf("receipt of transaction %d of block %d: %w", index, block.GetHeader().GetNumber(), err)
	}
	tree, err := TreeOf(block)
	if err != nil {
		return fail(err)
	}
	inBlock, err := tree.Prove(index)
	if err != nil {
		return fail(err)
	}
	transactions, err := tree.Root()
	if err != nil {
		return fail(err)
	}
	header := block.GetHeader()
	if header.GetNumber() >= size {
		return fail(fmt.Errorf("the log ends at block %d", size))
	}
	root, err := tlog.TreeHash(int64(size), log)
	if err != nil {
		return fail(err)
	}
	inLog, err := tlog.ProveRecord(int64(size), int64(header.GetNumber()), log)
	if err != nil {
		return fail(err)
	}
	checkpoint, err := signer.Checkpoint(size, root)
	if err != nil {
		return fail(err)
	}
	codes, _ := wire.ValidationCodes(block) // TreeOf has read them
	r := &Receipt{
		Channel: channel, BlockNumber: header.GetNumber(), Index: index, Code: codes[index].String(), Envelope: block.GetData().GetData()[index],
		Header:       Header{header.GetNumber(), header.GetPreviousHash(), header.GetDataHash()},
		Transactions: tree.Size(), TransactionsRoot: transactions, TransactionProof: append([]tlog.Hash{}, inBlock...), LogProof: append([]tlog.Hash{}, inLog...),
		Checkpoint: checkpoint, VerifierKey: signer.VerifierKey(),
	}
	if tx, _ := wire.ParseEnvelope(r.Envelope); tx != nil {
		r.TransactionID = tx.TxID
	}
	return r, nil
}

// Parse reads a receipt's JSON: one object with the fields of Receipt and no others. What it returns is not verified.
func Parse(data []byte) (*Receipt, error) {
	if len(data) > MaxSize {
		return nil, fmt.Errorf("read receipt: %w: it is over %d bytes", ErrForm, MaxSize)
	}
	r := &Receipt{}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(r); err != nil {
		return nil, fmt.Errorf("read receipt: %w: %v", ErrForm, err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, fmt.Errorf("read receipt: %w: there is more after its end", ErrForm)
	}
	return r, nil
}
