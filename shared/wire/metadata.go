package wire

import (
	"errors"
	"fmt"
	"slices"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"
)

// ErrNoCodes: a block's metadata has not one validation code for each of its transactions.
var ErrNoCodes = errors.New("block has not one validation code per transaction")

// SignedData is a signature and what it is over. Message is what the creator, a serialized identity, signed.
type SignedData struct {
	Creator, Message, Signature []byte
}

// metadata returns the address of a metadata slot. A block has five, as protoutil.InitBlockMetadata makes them.
func metadata(b *common.Block, slot common.BlockMetadataIndex) *[]byte {
	if b.Metadata == nil {
		b.Metadata = &common.BlockMetadata{}
	}
	for len(b.Metadata.Metadata) <= int(common.BlockMetadataIndex_COMMIT_HASH) {
		b.Metadata.Metadata = append(b.Metadata.Metadata, []byte{})
	}
	return &b.Metadata.Metadata[slot]
}

func readMetadata(b *common.Block, slot common.BlockMetadataIndex) []byte {
	slots := b.GetMetadata().GetMetadata()
	if int(slot) >= len(slots) {
		return nil
	}
	return slots[slot]
}

// SignBlock puts an orderer's signature into the block's metadata, beside the number of the last block with a
// configuration: of the metadata value ‖ signature header ‖ HeaderBytes. Signatures already there are replaced.
func SignBlock(b *common.Block, lastConfig uint64, sign func(message []byte) ([]byte, error), creator, nonce []byte) error {
	var m marshaller
	value := m.marshal(&common.OrdererBlockMetadata{LastConfig: &common.LastConfig{Index: lastConfig}})
	header := m.marshal(&common.SignatureHeader{Creator: creator, Nonce: nonce})
	if m.err != nil {
		return fmt.Errorf("sign block %d: %w", b.GetHeader().GetNumber(), m.err)
	}
	signature, err := sign(slices.Concat(value, header, HeaderBytes(b.GetHeader())))
	if err != nil {
		return fmt.Errorf("sign block %d: %w", b.GetHeader().GetNumber(), err)
	}
	encoded := m.marshal(&common.Metadata{
		Value:      value,
		Signatures: []*common.MetadataSignature{{SignatureHeader: header, Signature: signature}},
	})
	if m.err != nil {
		return fmt.Errorf("sign block %d: %w", b.GetHeader().GetNumber(), m.err)
	}
	*metadata(b, common.BlockMetadataIndex_SIGNATURES) = encoded
	return nil
}

// BlockSignatures returns the orderers' signatures of a block, none for a genesis block, and the number of the last
// block with a configuration. Whether they verify, and suffice, is for the channel's configuration to say.
func BlockSignatures(b *common.Block) (signatures []SignedData, lastConfig uint64, err error) {
	fail := func(err error) ([]SignedData, uint64, error) {
		return nil, 0, fmt.Errorf("read signatures of block %d: %w", b.GetHeader().GetNumber(), err)
	}
	outer, orderer := &common.Metadata{}, &common.OrdererBlockMetadata{}
	if err := proto.Unmarshal(readMetadata(b, common.BlockMetadataIndex_SIGNATURES), outer); err != nil {
		return fail(err)
	}
	if err := proto.Unmarshal(outer.GetValue(), orderer); err != nil {
		return fail(err)
	}
	der := HeaderBytes(b.GetHeader())
	for _, s := range outer.GetSignatures() {
		header := &common.SignatureHeader{}
		if err := proto.Unmarshal(s.GetSignatureHeader(), header); err != nil {
			return fail(err)
		}
		signatures = append(signatures, SignedData{
			Creator:   header.GetCreator(),
			Message:   slices.Concat(outer.GetValue(), s.GetSignatureHeader(), der),
			Signature: s.GetSignature(),
		})
	}
	return signatures, orderer.GetLastConfig().GetIndex(), nil
}

// SetValidationCodes writes the transactions' verdicts into the block's metadata: one byte each.
func SetValidationCodes(b *common.Block, codes []peer.TxValidationCode) {
	filter := make([]byte, len(codes))
	for i, code := range codes {
		filter[i] = byte(code)
	}
	*metadata(b, common.BlockMetadataIndex_TRANSACTIONS_FILTER) = filter
}

// ValidationCodes returns the verdict on each of the block's transactions, or ErrNoCodes if they are not there.
func ValidationCodes(b *common.Block) ([]peer.TxValidationCode, error) {
	filter := readMetadata(b, common.BlockMetadataIndex_TRANSACTIONS_FILTER)
	if len(filter) != len(b.GetData().GetData()) {
		return nil, fmt.Errorf("read validation codes of block %d: %w", b.GetHeader().GetNumber(), ErrNoCodes)
	}
	codes := make([]peer.TxValidationCode, len(filter))
	for i, code := range filter {
		codes[i] = peer.TxValidationCode(code)
	}
	return codes, nil
}

// SetCommitHash writes a peer's chained hash of the state's updates into the block's metadata.
func SetCommitHash(b *common.Block, hash []byte) {
	encoded, err := proto.Marshal(&common.Metadata{Value: hash})
	if err != nil {
		panic(err) // a byte string always encodes
	}
	*metadata(b, common.BlockMetadataIndex_COMMIT_HASH) = encoded
}

// CommitHash returns the commit hash in the block's metadata, nil if there is none.
func CommitHash(b *common.Block) []byte {
	m := &common.Metadata{}
	if err := proto.Unmarshal(readMetadata(b, common.BlockMetadataIndex_COMMIT_HASH), m); err != nil {
		return nil
	}
	return m.GetValue()
}
