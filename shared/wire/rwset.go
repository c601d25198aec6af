package wire

import (
	"cmp"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	"google.golang.org/protobuf/encoding/protowire"
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

// ParseRWSet takes a marshalled rwset.TxReadWriteSet apart. It keeps the order it finds and does not check it. Private
// hashes lie in raw.
func ParseRWSet(raw []byte) (*RWSet, error) {
	s := &RWSet{}
	var err error
	if !scan(raw, func(field protowire.Number, value []byte) bool {
		if field != 2 {
			return true
		}
		var ns NamespaceSet
		ns, err = parseNamespace(value)
		s.Namespaces = append(s.Namespaces, ns)
		return err == nil
	}) {
		return nil, fmt.Errorf("parse read-write set: %w", cmp.Or(err, errMalformed))
	}
	return s, nil
}

var errMalformed = errors.New("malformed message")

func parseNamespace(raw []byte) (NamespaceSet, error) {
	ns := NamespaceSet{KV: &kvrwset.KVRWSet{}}
	var public []byte
	var err error
	if !scan(raw, func(field protowire.Number, value []byte) bool {
		switch field {
		case 1:
			ns.Namespace = string(value)
			return utf8.ValidString(ns.Namespace)
		case 2:
			public = value
		case 3:
			var c CollectionSet
			c, err = parseCollection(value)
			ns.Collections = append(ns.Collections, c)
			return err == nil
		}
		return true
	}) {
		return ns, fmt.Errorf("namespace %q: %w", ns.Namespace, cmp.Or(err, errMalformed))
	}
	if err := proto.Unmarshal(public, ns.KV); err != nil {
		return ns, fmt.Errorf("namespace %q: %w", ns.Namespace, err)
	}
	return ns, nil
}

func parseCollection(raw []byte) (CollectionSet, error) {
	c := CollectionSet{Hashed: &kvrwset.HashedRWSet{}}
	var hashed []byte
	if !scan(raw, func(field protowire.Number, value []byte) bool {
		switch field {
		case 1:
			c.Name = string(value)
			return utf8.ValidString(c.Name)
		case 2:
			hashed = value
		case 3:
			c.PrivateHash = value
		}
		return true
	}) {
		return c, fmt.Errorf("collection %q: %w", c.Name, errMalformed)
	}
	if err := proto.Unmarshal(hashed, c.Hashed); err != nil {
		return c, fmt.Errorf("collection %q: %w", c.Name, err)
	}
	return c, nil
}
