package dynamodb

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"peerless/shared/ledger"
)

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func bytesOf(b []byte) types.AttributeValue {
	if b == nil {
		b = []byte{}
	}
	return &types.AttributeValueMemberB{Value: b}
}

func numberOf(n uint64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatUint(n, 10)}
}

// damaged says that an item is not one that this package wrote.
func damaged(it item, name string) error {
	pk, _ := it[partitionKey].(*types.AttributeValueMemberS)
	if pk == nil {
		pk = &types.AttributeValueMemberS{}
	}
	return fmt.Errorf("item %q: attribute %q: %w", pk.Value, name, ledger.ErrDamaged)
}

func textIn(it item, name string) (string, error) {
	if a, ok := it[name].(*types.AttributeValueMemberS); ok {
		return a.Value, nil
	}
	return "", damaged(it, name)
}

func bytesIn(it item, name string) ([]byte, error) {
	if a, ok := it[name].(*types.AttributeValueMemberB); ok {
		if a.Value == nil {
			return []byte{}, nil
		}
		return a.Value, nil
	}
	return nil, damaged(it, name)
}

func numberIn(it item, name string) (uint64, error) {
	if a, ok := it[name].(*types.AttributeValueMemberN); ok {
		if n, err := strconv.ParseUint(a.Value, 10, 64); err == nil {
			return n, nil
		}
	}
	return 0, damaged(it, name)
}

func versionIn(it item) (v ledger.Version, err error) {
	from := block
	if it[wrote] != nil {
		from = wrote
	}
	if v.Block, err = numberIn(it, from); err == nil {
		v.Tx, err = numberIn(it, position)
	}
	return v, err
}

// timeBytes encodes a time: seconds since 1970, 8 bytes, and nanoseconds, 4.
func timeBytes(t time.Time) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(nil, uint64(t.Unix())), uint32(t.Nanosecond()))
}

func timeIn(it item, name string) (time.Time, error) {
	b, err := bytesIn(it, name)
	if err != nil || len(b) != 12 {
		return time.Time{}, damaged(it, name)
	}
	return time.Unix(int64(binary.BigEndian.Uint64(b)), int64(binary.BigEndian.Uint32(b[8:]))).UTC(), nil
}
