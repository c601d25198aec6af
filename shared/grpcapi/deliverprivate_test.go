package grpcapi_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	probe "peerless/contracts/probe/chaincode"
	"peerless/shared/collection"
	"peerless/shared/gateway"
	"peerless/shared/ledger"
	"peerless/shared/wire"
)

const deliverCollections = `[
	{"name": "own", "policy": "OR('Org1MSP.member')"},
	{"name": "strict", "policy": "OR('Org1MSP.admin')", "memberOnlyRead": true},
	{"name": "shared", "policy": "OR('Org1MSP.member','Org2MSP.member')", "memberOnlyRead": true},
	{"name": "brief", "policy": "OR('Org1MSP.member')", "blockToLive": 1}%s]`

// definePrivate deploys the probe with collections.
func (s *served) definePrivate(t *testing.T, more string) {
	t.Helper()
	collections, err := collection.Parse(fmt.Appendf(nil, deliverCollections, more))
	if err != nil {
		t.Fatal(err)
	}
	definition := gateway.Definition{Name: "private", Policy: "OR('Org1MSP.peer')", Collections: collections}
	if _, err := s.node.DeployInProcess(t.Context(), "trade", probe.New(), definition); err != nil {
		t.Fatal(err)
	}
}

// submitPrivate has Org1 write to collections, and returns the block.
func (s *served) submitPrivate(t *testing.T, ops string) uint64 {
	t.Helper()
	user, err := s.node.User("Org1MSP", "writer", nil)
	if err != nil {
		t.Fatal(err)
	}
	outcome, err := s.node.Gateway.SubmitTransaction(t.Context(), gateway.Request{Channel: "trade", Chaincode: "private", Function: "run", Args: [][]byte{[]byte(ops)}, User: user})
	if err != nil {
		t.Fatal(err)
	}
	return outcome.Block
}

// private says what a block brought: "chaincode/collection key=value" of each write, but for organisations' approvals.
func private(t *testing.T, both *peer.BlockAndPrivateData) []string {
	t.Helper()
	var seen []string
	for position, set := range both.PrivateDataMap {
		if set.DataModel != rwset.TxReadWriteSet_KV || position >= uint64(len(both.Block.Data.Data)) {
			t.Errorf("block %d: position %d, %v", both.Block.Header.Number, position, set)
		}
		for _, ns := range set.NsPvtRwset {
			if ns.Namespace == ledger.LifecycleNamespace {
				continue
			}
			for _, c := range ns.CollectionPvtRwset {
				kv := &kvrwset.KVRWSet{}
				if err := proto.Unmarshal(c.Rwset, kv); err != nil {
					t.Fatal(err)
				}
				for _, w := range kv.Writes {
					seen = append(seen, fmt.Sprintf("%s/%s %s=%s", ns.Namespace, c.CollectionName, w.Key, w.Value))
				}
				for _, w := range kv.MetadataWrites {
					seen = append(seen, fmt.Sprintf("%s/%s %s: metadata", ns.Namespace, c.CollectionName, w.Key))
				}
			}
		}
	}
	slices.Sort(seen)
	return seen
}

// deliverPrivate reads what a user's stream brings of the channel as it is, by block. The user named admin is one.
func (s *served) deliverPrivate(t *testing.T, mspID, name string) map[uint64][]string {
	t.Helper()
	organization, err := s.node.Organizations.Organization(mspID)
	if err != nil {
		t.Fatal(err)
	}
	user, err := organization.User(name, nil)
	if name == "admin" {
		user, err = organization.Admin(name)
	}
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[uint64][]string)
	s.eachPrivate(t, seek{start: oldest(), stop: newest(), signer: user}, func(both *peer.BlockAndPrivateData) {
		if p := private(t, both); len(p) > 0 {
			seen[both.Block.Header.Number] = p
		}
	})
	return seen
}

func (s *served) eachPrivate(t *testing.T, k seek, see func(*peer.BlockAndPrivateData)) {
	t.Helper()
	stream, err := peer.NewDeliverClient(s.connection).DeliverWithPrivateData(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(k.envelope(t, s.user)); err != nil {
		t.Fatal(err)
	}
	for {
		response, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if both := response.GetBlockAndPrivateData(); both != nil {
			see(both)
			continue
		}
		if got := response.GetStatus(); got != common.Status_SUCCESS {
			t.Errorf("it ends with %s", got)
		}
		return
	}
}

// TestDeliverWithPrivateData: each organisation gets the private data that it holds and its client may read, of every block that
// still has some; what is purged, expired, overwritten or deleted is gone from them.
func TestDeliverWithPrivateData(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.definePrivate(t, "")
	all := s.submitPrivate(t, `[
		{"op":"PutPrivateData","collection":"own","key":"b","value":"1"}, {"op":"PutPrivateData","collection":"own","key":"a","value":"2"},
		{"op":"SetPrivateDataValidationParameter","collection":"own","key":"a","policy":{"role":"PEER","orgs":["Org1MSP"]}},
		{"op":"PutPrivateData","collection":"strict","key":"s","value":"3"}, {"op":"PutPrivateData","collection":"shared","key":"c","value":"4"},
		{"op":"PutPrivateData","collection":"_implicit_org_Org2MSP","key":"i","value":"5"}]`)
	brief := s.submitPrivate(t, `[{"op":"PutPrivateData","collection":"brief","key":"x","value":"6"}]`)
	before := map[uint64][]string{
		all: {"private/own a: metadata", "private/own a=2", "private/own b=1", "private/shared c=4"}, brief: {"private/brief x=6"}}
	if diff := cmp.Diff(before, s.deliverPrivate(t, "Org1MSP", "alice")); diff != "" {
		t.Errorf("Org1 (-want +got):\n%s", diff)
	}
	org2 := map[uint64][]string{all: {"private/_implicit_org_Org2MSP i=5", "private/shared c=4"}}
	if diff := cmp.Diff(org2, s.deliverPrivate(t, "Org2MSP", "bob")); diff != "" {
		t.Errorf("Org2 (-want +got):\n%s", diff)
	}
	before[all] = append(before[all], "private/strict s=3")
	if diff := cmp.Diff(before, s.deliverPrivate(t, "Org1MSP", "admin")); diff != "" {
		t.Errorf("Org1's administrator (-want +got):\n%s", diff)
	}
	s.compareHashes(t, all)

	// A later member gets what is written since, and nothing of before.
	s.definePrivate(t, `,{"name": "late", "policy": "OR('Org1MSP.member')"}`)
	first := s.submitPrivate(t, `[{"op":"PutPrivateData","collection":"late","key":"l","value":"7"}]`)
	s.definePrivate(t, `,{"name": "late", "policy": "OR('Org1MSP.member','Org2MSP.member')"}`)
	second := s.submitPrivate(t, `[{"op":"PutPrivateData","collection":"late","key":"m","value":"8"}, {"op":"PutPrivateData","collection":"own","key":"b","value":"9"},
		{"op":"PutPrivateData","collection":"own","key":"d","value":"10"}]`)
	gone := s.submitPrivate(t, `[{"op":"PurgePrivateData","collection":"shared","key":"c"}, {"op":"DelPrivateData","collection":"own","key":"d"}, {"op":"PutPrivateData","collection":"own","key":"e","value":"11"}]`)
	if diff := cmp.Diff(map[uint64][]string{
		all: {"private/own a: metadata", "private/own a=2"}, first: {"private/late l=7"}, second: {"private/late m=8", "private/own b=9"}, gone: {"private/own e=11"},
	}, s.deliverPrivate(t, "Org1MSP", "alice")); diff != "" {
		t.Errorf("Org1, later (-want +got):\n%s", diff)
	}
	org2 = map[uint64][]string{all: {"private/_implicit_org_Org2MSP i=5"}, second: {"private/late m=8"}}
	if diff := cmp.Diff(org2, s.deliverPrivate(t, "Org2MSP", "bob")); diff != "" {
		t.Errorf("Org2, later (-want +got):\n%s", diff)
	}
}

// compareHashes: a private set that lacks nothing has the bytes that the block's hash is of.
func (s *served) compareHashes(t *testing.T, number uint64) {
	t.Helper()
	user, err := s.node.User("Org1MSP", "alice", nil)
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	s.eachPrivate(t, seek{start: specified(number), stop: specified(number), signer: user}, func(both *peer.BlockAndPrivateData) {
		tx, _ := wire.ParseEnvelope(both.Block.Data.Data[0])
		for _, ns := range both.PrivateDataMap[0].GetNsPvtRwset() {
			for _, c := range ns.CollectionPvtRwset {
				for _, public := range tx.RWSet.Namespaces {
					i := slices.IndexFunc(public.Collections, func(p wire.CollectionSet) bool { return public.Namespace == ns.Namespace && p.Name == c.CollectionName })
					if i < 0 {
						continue
					}
					compared++
					if sum := sha256.Sum256(c.Rwset); !bytes.Equal(sum[:], public.Collections[i].PrivateHash) {
						t.Errorf("collection %s: the set is not the one that was endorsed", c.CollectionName)
					}
				}
			}
		}
	})
	if compared != 2 {
		t.Errorf("%d sets compared, want 2", compared)
	}
}

// TestDeliverPrivateStatuses: who may not read the channel gets nothing, and a stream goes on with the next envelope.
func TestDeliverPrivateStatuses(t *testing.T) {
	t.Parallel()
	s := start(t)
	stranger, err := s.node.User("StrangerMSP", "mallory", nil)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := peer.NewDeliverClient(s.connection).DeliverWithPrivateData(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		seek seek
		want common.Status
		sent int
	}{
		{seek{start: oldest(), stop: newest()}, common.Status_SUCCESS, int(s.height(t))},
		{seek{start: specified(99), stop: specified(99), behavior: orderer.SeekInfo_FAIL_IF_NOT_READY}, common.Status_NOT_FOUND, 0},
	} {
		if err := stream.Send(step.seek.envelope(t, s.user)); err != nil {
			t.Fatal(err)
		}
		for sent := 0; ; sent++ {
			response, err := stream.Recv()
			if err != nil {
				t.Fatal(err)
			}
			if response.GetBlockAndPrivateData() != nil {
				continue
			}
			if response.GetStatus() != step.want || sent != step.sent {
				t.Errorf("got %v after %d blocks, want %s after %d", response, sent, step.want, step.sent)
			}
			break
		}
	}
	stream, err = peer.NewDeliverClient(s.connection).DeliverWithPrivateData(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(seek{start: oldest(), stop: newest(), signer: stranger}.envelope(t, s.user)); err != nil {
		t.Fatal(err)
	}
	if response, err := stream.Recv(); err != nil || response.GetStatus() != common.Status_FORBIDDEN {
		t.Errorf("a stranger gets %v, %v", response, err)
	}
}

// TestPrivateDataEvents reads blocks as they come, with the Fabric Gateway's client.
func TestPrivateDataEvents(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.definePrivate(t, "")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	events, err := s.network.BlockAndPrivateDataEvents(ctx, client.WithStartBlock(s.height(t)))
	if err != nil {
		t.Fatal(err)
	}
	number := s.submitPrivate(t, `[{"op":"PutPrivateData","collection":"own","key":"a","value":"1"}, {"op":"PutPrivateData","collection":"shared","key":"b","value":"2"}]`)
	both, ok := <-events
	if !ok || both.GetBlock().GetHeader().GetNumber() != number {
		t.Fatalf("got %v, want block %d", both, number)
	}
	if diff := cmp.Diff([]string{"private/shared b=2"}, private(t, both)); diff != "" {
		t.Errorf("Org2's user (-want +got):\n%s", diff)
	}
}
