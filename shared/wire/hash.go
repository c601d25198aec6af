package wire

import (
	"crypto/sha256"
	"encoding/asn1"
	"encoding/hex"
	"math/big"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
)

// TxID returns the transaction id that a nonce and a creator make: SHA-256(nonce ‖ creator) in lower case hex.
func TxID(nonce, creator []byte) string {
	return hex.EncodeToString(sum(nonce, creator))
}

// HeaderBytes returns the DER of a block header, SEQUENCE (number, previous hash, data hash): what an orderer signs and
// what the next block's previous hash is taken of (protoutil.BlockHeaderBytes).
func HeaderBytes(h *common.BlockHeader) []byte {
	der, err := asn1.Marshal(struct {
		Number       *big.Int
		PreviousHash []byte
		DataHash     []byte
	}{new(big.Int).SetUint64(h.GetNumber()), h.GetPreviousHash(), h.GetDataHash()})
	if err != nil {
		panic(err) // an integer and two octet strings always encode
	}
	return der
}

// HeaderHash returns SHA-256 of HeaderBytes: the block's hash.
func HeaderHash(h *common.BlockHeader) []byte {
	return sum(HeaderBytes(h))
}

// DataHash returns SHA-256 of the envelopes, one after the other.
func DataHash(envelopes [][]byte) []byte {
	return sum(envelopes...)
}

func sum(parts ...[]byte) []byte {
	h := sha256.New()
	for _, part := range parts {
		h.Write(part)
	}
	return h.Sum(make([]byte, 0, sha256.Size))
}
