package wire

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"google.golang.org/protobuf/proto"
)

// ErrDataHash: a block's data is not what its header says.
var ErrDataHash = errors.New("block data does not match the header's data hash")

// NewBlock returns a block of the envelopes with its data hash and empty metadata slots. previousHash is nil for block 0.
func NewBlock(number uint64, previousHash []byte, envelopes [][]byte) *common.Block {
	b := &common.Block{
		Header: &common.BlockHeader{Number: number, PreviousHash: previousHash, DataHash: DataHash(envelopes)},
		Data:   &common.BlockData{Data: envelopes},
	}
	metadata(b, common.BlockMetadataIndex_COMMIT_HASH)
	return b
}

// ParseBlock reads a marshalled common.Block. It returns ErrDataHash if the data is not that of the header.
func ParseBlock(raw []byte) (*common.Block, error) {
	b := &common.Block{}
	if err := proto.Unmarshal(raw, b); err != nil {
		return nil, fmt.Errorf("parse block: %w", err)
	}
	if !bytes.Equal(DataHash(b.GetData().GetData()), b.GetHeader().GetDataHash()) {
		return nil, fmt.Errorf("parse block %d: %w", b.GetHeader().GetNumber(), ErrDataHash)
	}
	return b, nil
}
