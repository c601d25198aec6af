package wire

import (
	"fmt"

	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	"google.golang.org/protobuf/proto"
)

// An RWSet is what one transaction read and wrote, by namespace. It marshals byte for byte as Fabric's
// rwsetutil.TxRwSet does; the order of its parts is the producer's: namespaces, collections and keys sorted.
type RWSet struct {
	Namespaces []NamespaceSet
}

// A NamespaceSet is the part of one chaincode.
type NamespaceSet struct {
	Namespace   string
	KV          *kvrwset.KVRWSet // public; never nil after ParseRWSet
	Collections []CollectionSet
}

// A CollectionSet is the part of one private data collection, in hashes.
type CollectionSet struct {
	Name        string
	Hashed      *kvrwset.HashedRWSet // never nil after ParseRWSet
	PrivateHash []byte               // SHA-256 of the private set's bytes; nil if nothing was written
}

// Marshal returns the bytes of the set as a rwset.TxReadWriteSet.
func (s *RWSet) Marshal() ([]byte, error) {
	message := &rwset.TxReadWriteSet{
		DataModel: rwset.TxReadWriteSet_KV,
		NsRwset:   make([]*rwset.NsReadWriteSet, len(s.Namespaces)),
	}
	var m marshaller
	for i := range s.Namespaces {
		ns := &s.Namespaces[i]
		out := &rwset.NsReadWriteSet{Namespace: ns.Namespace, Rwset: m.marshal(ns.KV)}
		for _, c := range ns.Collections {
			out.CollectionHashedRwset = append(out.CollectionHashedRwset, &rwset.CollectionHashedReadWriteSet{
				CollectionName: c.Name,
				HashedRwset:    m.marshal(c.Hashed),
				PvtRwsetHash:   c.PrivateHash,
			})
		}
		message.NsRwset[i] = out
	}
	encoded := m.marshal(message)
	if m.err != nil {
		return nil, fmt.Errorf("marshal read-write set: %w", m.err)
	}
	return encoded, nil
}

// ParseRWSet takes a marshalled rwset.TxReadWriteSet apart. It keeps the order it finds and does not check it.
func ParseRWSet(raw []byte) (*RWSet, error) {
	message := &rwset.TxReadWriteSet{}
	if err := proto.Unmarshal(raw, message); err != nil {
		return nil, fmt.Errorf("parse read-write set: %w", err)
	}
	s := &RWSet{Namespaces: make([]NamespaceSet, len(message.GetNsRwset()))}
	for i, in := range message.GetNsRwset() {
		ns := NamespaceSet{Namespace: in.GetNamespace(), KV: &kvrwset.KVRWSet{}}
		if err := proto.Unmarshal(in.GetRwset(), ns.KV); err != nil {
			return nil, fmt.Errorf("parse read-write set of namespace %q: %w", ns.Namespace, err)
		}
		for _, c := range in.GetCollectionHashedRwset() {
			set := CollectionSet{Name: c.GetCollectionName(), Hashed: &kvrwset.HashedRWSet{}, PrivateHash: c.GetPvtRwsetHash()}
			if err := proto.Unmarshal(c.GetHashedRwset(), set.Hashed); err != nil {
				return nil, fmt.Errorf("parse read-write set of collection %q of namespace %q: %w", set.Name, ns.Namespace, err)
			}
			ns.Collections = append(ns.Collections, set)
		}
		s.Namespaces[i] = ns
	}
	return s, nil
}
