package node_test

import (
	"context"
	"crypto/cipher"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"testing"

	gatewayproto "github.com/hyperledger/fabric-protos-go-apiv2/gateway"

	probe "peerless/contracts/probe/chaincode"
	"peerless/shared/collection"
	"peerless/shared/gateway"
	"peerless/shared/ledger"
	"peerless/shared/store/mem"
)

// tampered is a store whose state is not what was applied to it: these keys have other items, nil is none.
type tampered struct {
	ledger.Store
	items map[[2]string]*ledger.Item // by namespace and key
}

func (s *tampered) View(ctx context.Context, channel string) (ledger.View, error) {
	view, err := s.Store.View(ctx, channel)
	return &tamperedView{view, s.items}, err
}

type tamperedView struct {
	ledger.View
	items map[[2]string]*ledger.Item
}

func (v *tamperedView) Get(ctx context.Context, namespace string, keys []string) ([]*ledger.Item, error) {
	items, err := v.View.Get(ctx, namespace, keys)
	for i := range items {
		if other, changed := v.items[[2]string{namespace, keys[i]}]; changed {
			items[i] = other
		}
	}
	return items, err
}

func (v *tamperedView) Range(ctx context.Context, namespace, start, end string, limit int) ([]ledger.KV, error) {
	rows, err := v.View.Range(ctx, namespace, start, end, limit+len(v.items))
	for k, item := range v.items {
		if k[0] != namespace || k[1] < start || end != "" && k[1] >= end {
			continue
		}
		rows = slices.DeleteFunc(rows, func(row ledger.KV) bool { return row.Key == k[1] })
		if item != nil {
			rows = append(rows, ledger.KV{Key: k[1], Item: item})
		}
	}
	slices.SortFunc(rows, func(a, b ledger.KV) int { return strings.Compare(a.Key, b.Key) })
	return rows[:min(limit, len(rows))], err
}

func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return string(sum[:])
}

// TestPrivateAudit compares private values with their hashes: what is here and wrong is damage; what is not here is told apart.
func TestPrivateAudit(t *testing.T) {
	t.Parallel()
	store := mem.New(mem.Config{})
	n := open(t, store, "")
	defer closed(t, n)
	if err := n.CreateChannel(t.Context(), "main", []string{"AMSP", "BMSP"}); err != nil {
		t.Fatal(err)
	}
	collections, err := collection.Parse([]byte(nodeCollections))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.DeployInProcess(t.Context(), "main", probe.New(), gateway.Definition{Name: "probe", Policy: "OR('AMSP.peer')", Collections: collections}); err != nil {
		t.Fatal(err)
	}
	p := &privateNode{TB: t, node: n}
	p.submit("AMSP", `[{"op":"PutPrivateData","collection":"own","key":"kept","value":"one"}, {"op":"PutPrivateData","collection":"own","key":"also","value":"two"},
		{"op":"PutPrivateData","collection":"own","key":"deleted","value":"x"}, {"op":"PutPrivateData","collection":"own","key":"purged","value":"x"},
		{"op":"PutPrivateData","collection":"brief","key":"expired","value":"x"}]`, nil)
	p.submit("AMSP", `[{"op":"DelPrivateData","collection":"own","key":"deleted"}, {"op":"PurgePrivateData","collection":"own","key":"purged"}]`, nil)
	p.submit("AMSP", `[{"op":"PutPrivateData","collection":"own","key":"kept","value":"one"}]`, nil)

	// The value of this one never comes.
	txID, envelope := p.endorseOnly(`[{"op":"PutPrivateData","collection":"own","key":"absent","value":"x"}]`, nil)
	if err := store.Unstage(t.Context(), "main", nil, ^uint64(0)); err != nil {
		t.Fatal(err)
	}
	if envelope.Signature, err = p.user("AMSP").Sign(envelope.Payload); err != nil {
		t.Fatal(err)
	}
	request := &gatewayproto.SubmitRequest{TransactionId: txID, ChannelId: "main", PreparedTransaction: envelope}
	if _, err := n.Gateway.At("AMSP").Submit(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	p.submit("AMSP", `[{"op":"PutState","key":"after","value":"1"}]`, nil) // behind it

	run := func(s ledger.Store, keys collection.Keys) (*ledger.AuditReport, error) {
		return (&ledger.Audit{Store: s, Channel: "main", Scratch: mem.New(mem.Config{}), Keys: keys}).Run(t.Context())
	}
	const approved = 2 * 6 // the values of both organisations' approvals
	want := ledger.PrivateReport{Hashes: approved + 3, Opened: approved + 2, Absent: 1, Deleted: 1, Purged: 1, Expired: 1}
	if report, err := run(store, n.Organizations); err != nil || report.Private == nil || *report.Private != want {
		t.Errorf("with the keys: %+v, %v, want %+v", report.Private, err, want)
	}
	want.Opened, want.Sealed = 0, want.Opened
	for name, keys := range map[string]collection.Keys{"without keys": nil, "with others' keys": noKeys{}} {
		if report, err := run(store, keys); err != nil || *report.Private != want {
			t.Errorf("%s: %+v, %v, want %+v", name, report.Private, err, want)
		}
	}

	view, err := store.View(t.Context(), "main")
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	values, keys, hashes := ledger.PrivateNamespace("probe", "own"), strings.Replace(ledger.PrivateNamespace("probe", "own"), "$$p", "$$k", 1), ledger.HashedNamespace("probe", "own")
	get := func(namespace, key string) *ledger.Item {
		t.Helper()
		items, err := view.Get(t.Context(), namespace, []string{key})
		if err != nil || items[0] == nil {
			t.Fatalf("key %q of %s: %v", key, namespace, err)
		}
		return items[0]
	}
	kept, also := get(values, "kept"), get(values, "also")
	sealed, err := collection.Seal(n.Organizations, []string{"AMSP"}, ledger.PrivatePlace("main", "probe", "own", "kept"), []byte("another"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		items map[[2]string]*ledger.Item
		want  string
		blind bool // it takes no key to see it
	}{
		"another value":                {map[[2]string]*ledger.Item{{values, "kept"}: {Value: sealed, Version: kept.Version}}, "the value is not what its hash says", false},
		"another key's value":          {map[[2]string]*ledger.Item{{values, "kept"}: {Value: also.Value, Version: kept.Version}}, "private data is not what was sealed", false},
		"an older value":               {map[[2]string]*ledger.Item{{values, "kept"}: {Value: kept.Value, Version: also.Version}}, "the value is not that of the transaction that wrote the hash", true},
		"no value":                     {map[[2]string]*ledger.Item{{values, "kept"}: nil}, "the key is here and its value is not", true},
		"no key":                       {map[[2]string]*ledger.Item{{keys, hashOf("kept")}: nil}, "2 of its values are here and 1 belong to a hash", true},
		"another key":                  {map[[2]string]*ledger.Item{{keys, hashOf("kept")}: {Value: []byte("kalso"), Version: kept.Version}}, "another key is kept for it", true},
		"a value of what was purged":   {map[[2]string]*ledger.Item{{values, "purged"}: kept}, "3 of its values are here and 2 belong to a hash", true},
		"a key of what was purged":     {map[[2]string]*ledger.Item{{keys, hashOf("purged")}: kept}, "3 of its values are here and 2 belong to a hash", true},
		"another hash, with its value": {map[[2]string]*ledger.Item{{hashes, hashOf("kept")}: {Value: []byte(hashOf("another")), Version: kept.Version}, {values, "kept"}: {Value: sealed, Version: kept.Version}}, "is not as transaction", true},
	} {
		bad := &tampered{store, c.items}
		if _, err := run(bad, n.Organizations); !errors.Is(err, ledger.ErrAudit) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "kept\"") {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if _, err := run(bad, nil); (err != nil) != c.blind {
			t.Errorf("%s, without keys: %v", name, err)
		}
	}
}

// noKeys is a platform that holds no organisation's key.
type noKeys struct{ collection.Keys }

func (noKeys) DataKey(string) (cipher.AEAD, error) { return nil, collection.ErrNoKey }
