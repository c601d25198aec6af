package wire

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset"
	"google.golang.org/protobuf/proto"
)

// A PrivateSet is what one transaction wrote to collections: the part of its read-write set of which a block has only hashes.
// Namespaces and collections are sorted.
type PrivateSet []PrivateCollection

// A PrivateCollection is the part of one collection.
type PrivateCollection struct {
	Namespace, Collection string
	// Raw is a marshalled kvrwset.KVRWSet of writes; of metadata it has the keys. CollectionSet.PrivateHash is its SHA-256.
	Raw []byte
}

// Of returns the bytes of a collection's part, nil if there is none with this hash.
func (s PrivateSet) Of(namespace string, c *CollectionSet) []byte {
	for i := range s {
		if s[i].Namespace != namespace || s[i].Collection != c.Name {
			continue
		}
		if hash := sha256.Sum256(s[i].Raw); bytes.Equal(hash[:], c.PrivateHash) {
			return s[i].Raw
		}
	}
	return nil
}

// Message returns the set as Fabric's message. What it holds is the set's.
func (s PrivateSet) Message() *rwset.TxPvtReadWriteSet {
	message := &rwset.TxPvtReadWriteSet{DataModel: rwset.TxReadWriteSet_KV}
	var ns *rwset.NsPvtReadWriteSet
	for i := range s {
		if ns == nil || ns.Namespace != s[i].Namespace {
			ns = &rwset.NsPvtReadWriteSet{Namespace: s[i].Namespace}
			message.NsPvtRwset = append(message.NsPvtRwset, ns)
		}
		ns.CollectionPvtRwset = append(ns.CollectionPvtRwset, &rwset.CollectionPvtReadWriteSet{CollectionName: s[i].Collection, Rwset: s[i].Raw})
	}
	return message
}

// Marshal returns the set as a rwset.TxPvtReadWriteSet.
func (s PrivateSet) Marshal() ([]byte, error) {
	raw, err := proto.Marshal(s.Message())
	if err != nil {
		return nil, fmt.Errorf("marshal private set: %w", err)
	}
	return raw, nil
}

// ParsePrivateSet takes a marshalled rwset.TxPvtReadWriteSet apart.
func ParsePrivateSet(raw []byte) (PrivateSet, error) {
	message := &rwset.TxPvtReadWriteSet{}
	if err := proto.Unmarshal(raw, message); err != nil {
		return nil, fmt.Errorf("parse private set: %w", err)
	}
	var s PrivateSet
	for _, ns := range message.NsPvtRwset {
		for _, c := range ns.CollectionPvtRwset {
			s = append(s, PrivateCollection{ns.Namespace, c.CollectionName, c.Rwset})
		}
	}
	return s, nil
}

// PrivateID names the private set of a transaction: its id, and a hash of the hashes that the read-write set has of it, since a
// proposal can be endorsed more than once, and with different results. It is empty if nothing private was written.
func (s *RWSet) PrivateID(txID string) string {
	h := sha256.New()
	found := false
	part := func(b []byte) {
		h.Write(binary.AppendUvarint(nil, uint64(len(b))))
		h.Write(b)
	}
	for i := range s.Namespaces {
		for k := range s.Namespaces[i].Collections {
			if c := &s.Namespaces[i].Collections[k]; len(c.PrivateHash) == sha256.Size {
				found = true
				part([]byte(s.Namespaces[i].Namespace))
				part([]byte(c.Name))
				part(c.PrivateHash)
			}
		}
	}
	if !found {
		return ""
	}
	return txID + "." + hex.EncodeToString(h.Sum(nil)[:16])
}
