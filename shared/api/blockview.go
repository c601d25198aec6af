package api

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"peerless/shared/wire"
)

// blockView is a block for people: everything but the certificates and signatures, which the protobuf form has.
type blockView struct {
	Number       uint64            `json:"number"`
	Hash         string            `json:"hash"`         // of the header, in hex
	PreviousHash string            `json:"previousHash"` // in hex; empty in block 0
	DataHash     string            `json:"dataHash"`     // in hex
	CommitHash   string            `json:"commitHash,omitempty"`
	Size         int               `json:"size"` // bytes, of the protobuf form
	Transactions []transactionView `json:"transactions"`
}

// transactionView is a transaction. A client-signed one is recorded whatever it holds, so any part may be missing.
type transactionView struct {
	TransactionID  string          `json:"transactionId"`
	Index          int             `json:"index"` // position in the block, from 0
	Type           string          `json:"type"`
	ValidationCode string          `json:"validationCode,omitempty"`
	Channel        string          `json:"channel,omitempty"`
	Timestamp      time.Time       `json:"timestamp,omitzero"` // the proposal's
	Creator        *identityView   `json:"creator,omitempty"`
	Chaincode      *chaincodeRef   `json:"chaincode,omitempty"`
	Args           []rawBytes      `json:"args,omitempty"` // the function's name first
	Response       *responseView   `json:"response,omitempty"`
	Event          *eventOfTx      `json:"event,omitempty"`
	Endorsers      []identityView  `json:"endorsers,omitempty"`
	ReadWriteSet   []namespaceView `json:"readWriteSet,omitempty"`
}

type identityView struct {
	MSPID      string `json:"mspId"`
	CommonName string `json:"commonName,omitempty"`
}

type chaincodeRef struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
}

type responseView struct {
	Status  int32    `json:"status"`
	Message string   `json:"message,omitempty"`
	Payload rawBytes `json:"payload"`
}

type eventOfTx struct {
	Name    string   `json:"name"`
	Payload rawBytes `json:"payload"`
}

type namespaceView struct {
	Namespace      string           `json:"namespace"`
	Reads          []readView       `json:"reads,omitempty"`
	Ranges         []rangeView      `json:"ranges,omitempty"`
	Writes         []writeView      `json:"writes,omitempty"`
	MetadataWrites []metadataView   `json:"metadataWrites,omitempty"`
	Collections    []collectionView `json:"collections,omitempty"`
}

type versionView struct {
	Block uint64 `json:"block"`
	Tx    uint64 `json:"tx"`
}

type readView struct {
	Key     rawBytes     `json:"key"`
	Version *versionView `json:"version"` // null: the key did not exist
}

type rangeView struct {
	Start     rawBytes   `json:"start"`
	End       rawBytes   `json:"end"`
	Exhausted bool       `json:"exhausted"`
	Reads     []readView `json:"reads,omitempty"`
	Merkle    string     `json:"merkle,omitempty"` // hashes of what was read, in hex, where there are too many rows
}

type writeView struct {
	Key      rawBytes `json:"key"`
	Value    rawBytes `json:"value"` // null if it is a deletion
	IsDelete bool     `json:"isDelete"`
}

type metadataView struct {
	Key     rawBytes            `json:"key"`
	Entries map[string]rawBytes `json:"entries"`
}

type collectionView struct {
	Name   string           `json:"name"`
	Reads  []hashedReadView `json:"reads,omitempty"`
	Writes []hashedWrite    `json:"writes,omitempty"`
}

type hashedReadView struct {
	KeyHash string       `json:"keyHash"`
	Version *versionView `json:"version"`
}

type hashedWrite struct {
	KeyHash   string `json:"keyHash"`
	ValueHash string `json:"valueHash,omitempty"`
	IsDelete  bool   `json:"isDelete"`
	IsPurge   bool   `json:"isPurge,omitempty"`
}

// viewBlock shows a block. What cannot be decoded is left out.
func viewBlock(b decodedBlock) *blockView {
	header := b.block.GetHeader()
	view := &blockView{
		Number: header.GetNumber(), Hash: hex.EncodeToString(wire.HeaderHash(header)),
		PreviousHash: hex.EncodeToString(header.GetPreviousHash()), DataHash: hex.EncodeToString(header.GetDataHash()),
		CommitHash: hex.EncodeToString(wire.CommitHash(b.block)), Size: len(b.raw), Transactions: []transactionView{},
	}
	for i := range b.block.GetData().GetData() {
		view.Transactions = append(view.Transactions, viewTransaction(b.block, i))
	}
	return view
}

func viewTransaction(block *common.Block, index int) transactionView {
	view := transactionView{Index: index}
	if codes, err := wire.ValidationCodes(block); err == nil && index < len(codes) {
		view.ValidationCode = codes[index].String()
	}
	tx, _ := wire.ParseEnvelope(block.GetData().GetData()[index])
	if tx == nil {
		return view
	}
	view.TransactionID, view.Channel, view.Type, view.Timestamp = tx.TxID, tx.Channel, tx.Type.String(), tx.Timestamp
	view.Creator = viewIdentity(tx.Creator)
	if tx.Chaincode != "" {
		view.Chaincode = &chaincodeRef{tx.Chaincode, tx.ChaincodeID.GetVersion()}
	}
	view.Args = viewArgs(tx.Args)
	if r := tx.Response; r != nil {
		view.Response = &responseView{r.GetStatus(), r.GetMessage(), r.GetPayload()}
	}
	if e := tx.Event; e != nil {
		view.Event = &eventOfTx{e.GetEventName(), e.GetPayload()}
	}
	view.Endorsers = viewEndorsers(tx.Endorsements)
	if tx.RWSet != nil {
		for i := range tx.RWSet.Namespaces {
			view.ReadWriteSet = append(view.ReadWriteSet, viewNamespace(&tx.RWSet.Namespaces[i]))
		}
	}
	return view
}

func viewArgs(args [][]byte) []rawBytes {
	var view []rawBytes
	for _, arg := range args {
		view = append(view, append(rawBytes{}, arg...)) // never null: an empty argument is ""
	}
	return view
}

func viewEndorsers(endorsements []*peer.Endorsement) []identityView {
	var view []identityView
	for _, e := range endorsements {
		if identity := viewIdentity(e.GetEndorser()); identity != nil {
			view = append(view, *identity)
		}
	}
	return view
}

// viewIdentity reads a serialized identity: nil if there is none.
func viewIdentity(serialized []byte) *identityView {
	identity := &mspproto.SerializedIdentity{}
	if len(serialized) == 0 || proto.Unmarshal(serialized, identity) != nil {
		return nil
	}
	view := &identityView{MSPID: identity.GetMspid()}
	if block, _ := pem.Decode(identity.GetIdBytes()); block != nil {
		if certificate, err := x509.ParseCertificate(block.Bytes); err == nil {
			view.CommonName = certificate.Subject.CommonName
		}
	}
	return view
}

func viewNamespace(ns *wire.NamespaceSet) namespaceView {
	view := namespaceView{Namespace: ns.Namespace, Reads: viewReads(ns.KV.GetReads())}
	for _, q := range ns.KV.GetRangeQueriesInfo() {
		r := rangeView{
			Start: rawBytes(q.GetStartKey()), End: rawBytes(q.GetEndKey()), Exhausted: q.GetItrExhausted(),
			Reads: viewReads(q.GetRawReads().GetKvReads()),
		}
		for _, hash := range q.GetReadsMerkleHashes().GetMaxLevelHashes() {
			r.Merkle += hex.EncodeToString(hash)
		}
		view.Ranges = append(view.Ranges, r)
	}
	for _, w := range ns.KV.GetWrites() {
		write := writeView{Key: rawBytes(w.GetKey()), IsDelete: w.GetIsDelete()}
		if !w.GetIsDelete() {
			write.Value = append(rawBytes{}, w.GetValue()...)
		}
		view.Writes = append(view.Writes, write)
	}
	for _, w := range ns.KV.GetMetadataWrites() {
		entries := make(map[string]rawBytes, len(w.GetEntries()))
		for _, e := range w.GetEntries() {
			entries[e.GetName()] = e.GetValue()
		}
		view.MetadataWrites = append(view.MetadataWrites, metadataView{rawBytes(w.GetKey()), entries})
	}
	for _, c := range ns.Collections {
		view.Collections = append(view.Collections, viewCollection(c))
	}
	return view
}

func viewReads(reads []*kvrwset.KVRead) []readView {
	var view []readView
	for _, r := range reads {
		view = append(view, readView{rawBytes(r.GetKey()), viewVersion(r.GetVersion())})
	}
	return view
}

func viewVersion(v *kvrwset.Version) *versionView {
	if v == nil {
		return nil
	}
	return &versionView{v.GetBlockNum(), v.GetTxNum()}
}

func viewCollection(c wire.CollectionSet) collectionView {
	view := collectionView{Name: c.Name}
	for _, r := range c.Hashed.GetHashedReads() {
		view.Reads = append(view.Reads, hashedReadView{hex.EncodeToString(r.GetKeyHash()), viewVersion(r.GetVersion())})
	}
	for _, w := range c.Hashed.GetHashedWrites() {
		view.Writes = append(view.Writes, hashedWrite{
			hex.EncodeToString(w.GetKeyHash()), hex.EncodeToString(w.GetValueHash()), w.GetIsDelete(), w.GetIsPurge(),
		})
	}
	return view
}
