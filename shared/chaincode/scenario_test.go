package chaincode_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/chaincode"
	"peerless/shared/simulate"
	"peerless/shared/simulate/simtest"
	"peerless/shared/wire"
)

// The scenarios that need nothing but a chaincode and the state. The others need private data, identities, the gateway's
// checks or events; package conformance runs them.
var scenarios = []string{
	"blind-delete", "blind-writes", "call-chaincode", "call-error", "call-other-channel", "composite-all", "composite-keys", "crud",
	"delete-then-read", "empty-value", "failed-must", "get-multiple", "history", "history-in-a-block", "key-order", "key-policy",
	"large-values", "many-keys-range", "mvcc-across-blocks", "mvcc-deleted-and-back", "mvcc-missing-key", "mvcc-same-block",
	"mvcc-same-value", "no-writes", "odd-keys", "pagination", "pagination-and-writes", "phantom-composite", "phantom-delete",
	"phantom-insert", "phantom-update", "policy-and", "policy-or-outof-default", "range-bounds", "range-read-and-key",
	"read-your-own-writes", "rich-query", "status-codes", "write-batch", "write-twice",
}

type step struct {
	ID, Do, Channel, Chaincode string
	Ops                        json.RawMessage
	Function                   *string
	Args                       []text
	Txs                        []json.RawMessage
}

type stepResult struct {
	Response *struct {
		Status  int32
		Message string
	}
	Result, RWSet any
	Event         *struct{ Name, Payload string }
	Commit        *struct{ Code string }
	Txs           []struct{ Commit *struct{ Code string } }
	Error         *struct{ Details []struct{ Message string } }
}

// Contracts are answered as by Fabric, and leave its read-write sets. The verdicts are taken from the recording.
func TestRecordedScenarios(t *testing.T) {
	t.Parallel()
	for _, name := range scenarios {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var scenario struct{ Steps []step }
			var results struct{ Steps []stepResult }
			read := func(kind string, into any) {
				raw, err := os.ReadFile(filepath.Join(conformance, kind, name+".json"))
				if err != nil {
					t.Fatal(err)
				}
				if err := json.Unmarshal(raw, into); err != nil {
					t.Fatal(err)
				}
			}
			read("scenarios", &scenario)
			read("results", &results)
			n := newNetwork(t)
			for i := range scenario.Steps {
				n.step(&scenario.Steps[i], &results.Steps[i])
			}
		})
	}
}

// A network is the state of two channels, and two hosts with the probe.
type network struct {
	*testing.T
	creator  []byte
	states   map[string]*simtest.State
	hosts    map[string]chaincode.Host
	heights  map[string]uint64
	pending  map[string]simtest.Tx // endorsed, by step
	channels map[string]string
	versions map[string]map[wireVersion]string // the step that wrote a version
	masks    []string                          // ids and times, and what the recording has for them
}

type wireVersion struct{ block, tx uint64 }

func newNetwork(t *testing.T) *network {
	n := &network{T: t,
		states:   map[string]*simtest.State{},
		hosts:    map[string]chaincode.Host{},
		heights:  map[string]uint64{},
		pending:  map[string]simtest.Tx{},
		channels: map[string]string{},
		versions: map[string]map[wireVersion]string{},
	}
	cert, err := os.ReadFile(filepath.Join(conformance, "wire", "certs", "org1-user.pem"))
	if err != nil {
		t.Fatal(err)
	}
	n.creator = marshal(t, &msp.SerializedIdentity{Mspid: "Org1MSP", IdBytes: cert})
	for _, channel := range []string{"alpha", "beta"} {
		n.states[channel] = simtest.NewState()
		n.versions[channel] = map[wireVersion]string{}
	}
	for _, name := range []string{"probe", "other"} {
		host, err := chaincode.StartInProcess(name, probe{}, chaincode.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = host.Close() })
		n.hosts[name] = host
	}
	return n
}

func (n *network) step(s *step, want *stepResult) {
	if s.Channel == "" {
		s.Channel = "alpha"
	}
	if s.Chaincode == "" {
		s.Chaincode = "probe"
	}
	switch s.Do {
	case "evaluate", "endorse":
		n.propose(s, want)
	case "submit":
		if n.propose(s, want) && want.Commit != nil {
			n.commit(s.Channel, []string{s.ID}, []string{want.Commit.Code})
		}
	case "order":
		var labels, codes []string
		for i, raw := range s.Txs {
			var label string
			if err := json.Unmarshal(raw, &label); err != nil {
				var o struct{ Tx string }
				if err := json.Unmarshal(raw, &o); err != nil {
					n.Fatal(err)
				}
				label = o.Tx
			}
			if want.Txs[i].Commit != nil {
				labels, codes = append(labels, label), append(codes, want.Txs[i].Commit.Code)
			}
		}
		n.commit(n.channels[labels[0]], labels, codes)
	case "pause", "status", "blocks":
	default:
		n.Fatalf("step %s: do %s", s.ID, s.Do)
	}
}

// propose simulates a step's transaction and compares. It reports whether there is something to commit.
func (n *network) propose(s *step, want *stepResult) bool {
	function := "run"
	if s.Function != nil {
		function = *s.Function
	}
	args := [][]byte{[]byte(function)}
	if s.Ops != nil {
		args = append(args, s.Ops)
	}
	for _, arg := range s.Args {
		args = append(args, arg.bytes)
	}
	timestamp := time.Unix(1_700_000_000+int64(len(n.masks)), 1234)
	proposal, err := wire.NewProposal(wire.ProposalSpec{
		Channel: s.Channel, Chaincode: s.Chaincode, Args: args, Creator: n.creator,
		Nonce: fmt.Appendf(nil, "%-24s", s.ID), Timestamp: timestamp,
	})
	if err != nil {
		n.Fatal(err)
	}
	proposal.Signed.Signature = []byte("signature")
	n.masks = append(n.masks, proposal.TxID, "<tx:"+s.ID+">", timestamp.UTC().Format(time.RFC3339Nano), "<time:"+s.ID+">")
	inv := &chaincode.Invocation{
		Channel: s.Channel, Chaincode: s.Chaincode, Proposal: proposal, Input: proposal.Input,
		Tx: simulate.New(n.states[s.Channel].View(n), proposal.TxID),
	}
	inv.Call = n.caller(inv)
	result, err := n.host(s.Chaincode).Execute(n.Context(), inv)
	if err != nil {
		n.Fatalf("step %s: %v", s.ID, err)
	}
	if want.Error != nil {
		text := fmt.Sprintf("chaincode response %d, %s", result.Response.Status, result.Response.Message)
		if result.Response.Status < 400 || len(want.Error.Details) == 0 || want.Error.Details[0].Message != text {
			n.Errorf("step %s: got %s, want %v", s.ID, text, want.Error)
		}
		return false
	}
	set, err := inv.Tx.Results()
	if err != nil {
		n.Fatalf("step %s: %v", s.ID, err)
	}
	n.compare(s, want, result, set)
	n.pending[s.ID] = simtest.Tx{ID: proposal.TxID, Timestamp: timestamp, RWSet: set}
	n.channels[s.ID] = s.Channel
	return true
}

func (n *network) host(name string) chaincode.Host {
	if name == "other" {
		return n.hosts["other"]
	}
	return n.hosts["probe"]
}

func (n *network) caller(outer *chaincode.Invocation) func(context.Context, string, string, *peer.ChaincodeInput) (*peer.Response, error) {
	return func(ctx context.Context, channel, name string, input *peer.ChaincodeInput) (*peer.Response, error) {
		inner := *outer
		inner.Chaincode, inner.Input = name, input
		if channel != "" {
			if n.states[channel] == nil {
				return nil, fmt.Errorf("Failed to get policy manager for channel [%s]", channel)
			}
			inner.Channel, inner.Tx = channel, simulate.New(n.states[channel].View(n), outer.Proposal.TxID)
		} else {
			channel = outer.Channel
		}
		if n.hosts[name] == nil {
			return nil, fmt.Errorf("execute failed: invalid invocation: [channel %s] failed to get chaincode container info for %s: chaincode %s not found", channel, name, name)
		}
		inner.Call = n.caller(&inner)
		result, err := n.host(name).Execute(ctx, &inner)
		if err != nil {
			return nil, fmt.Errorf("execute failed: %w", err)
		}
		return result.Response, nil
	}
}

func (n *network) commit(channel string, labels, codes []string) {
	var txs []simtest.Tx
	for i, label := range labels {
		tx := n.pending[label]
		tx.Code = peer.TxValidationCode(peer.TxValidationCode_value[codes[i]])
		txs = append(txs, tx)
		n.versions[channel][wireVersion{n.heights[channel], uint64(i)}] = "tx:" + label
	}
	n.states[channel].Commit(n, txs...)
	n.heights[channel]++
}

func (n *network) compare(s *step, want *stepResult, result *chaincode.Result, set *wire.RWSet) {
	check := func(what string, got, want any) {
		n.Helper()
		if diff := cmp.Diff(got, want); diff != "" {
			n.Errorf("step %s: %s (-got +want):\n%s", s.ID, what, diff)
		}
	}
	if want.Response != nil {
		check("status", result.Response.Status, want.Response.Status)
		check("message", result.Response.Message, want.Response.Message)
	}
	masked := strings.NewReplacer(n.masks...).Replace(string(result.Response.Payload))
	var got any
	if (!strings.HasPrefix(masked, "[") && !strings.HasPrefix(masked, "{")) || json.Unmarshal([]byte(masked), &got) != nil {
		got = plain(n, show(result.Response.Payload))
	}
	check("result", got, want.Result)
	if want.Event != nil {
		check("event", result.Event.GetEventName(), want.Event.Name)
	}
	if s.Do == "evaluate" {
		return
	}
	recorded, _ := want.RWSet.([]any)
	var others []any
	for _, ns := range recorded {
		if ns.(map[string]any)["namespace"] != "_lifecycle" {
			others = append(others, ns)
		}
	}
	check("read-write set", n.describe(s.Channel, set), any(others))
}

// describe renders a set as the recording does.
func (n *network) describe(channel string, set *wire.RWSet) any {
	version := func(v *kvrwset.Version) any {
		if v == nil {
			return nil
		}
		return n.versions[channel][wireVersion{v.BlockNum, v.TxNum}]
	}
	reads := func(all []*kvrwset.KVRead) (list []any) {
		for _, read := range all {
			list = append(list, map[string]any{"key": show([]byte(read.Key)), "version": version(read.Version)})
		}
		return list
	}
	put := func(into map[string]any, name string, list []any) {
		if list != nil {
			into[name] = list
		}
	}
	var namespaces []any
	for _, ns := range set.Namespaces {
		one := map[string]any{"namespace": ns.Namespace}
		put(one, "reads", reads(ns.KV.Reads))
		var ranges, writes, metadata []any
		for _, q := range ns.KV.RangeQueriesInfo {
			r := map[string]any{"start": show([]byte(q.StartKey)), "end": show([]byte(q.EndKey)), "exhausted": q.ItrExhausted}
			put(r, "reads", reads(q.GetRawReads().GetKvReads()))
			if m := q.GetReadsMerkleHashes(); m != nil {
				r["merkle"] = map[string]any{"maxDegree": m.MaxDegree, "maxLevel": m.MaxLevel, "hashes": len(m.MaxLevelHashes)}
			}
			ranges = append(ranges, r)
		}
		for _, w := range ns.KV.Writes {
			if w.IsDelete {
				writes = append(writes, map[string]any{"key": show([]byte(w.Key)), "delete": true})
			} else {
				writes = append(writes, map[string]any{"key": show([]byte(w.Key)), "value": show(w.Value)})
			}
		}
		for _, m := range ns.KV.MetadataWrites {
			entries := map[string]any{}
			for _, entry := range m.Entries {
				entries[entry.Name] = base64.StdEncoding.EncodeToString(entry.Value)
			}
			metadata = append(metadata, map[string]any{"key": show([]byte(m.Key)), "entries": entries})
		}
		put(one, "ranges", ranges)
		put(one, "writes", writes)
		put(one, "metadata", metadata)
		namespaces = append(namespaces, one)
	}
	if namespaces == nil {
		return any([]any(nil))
	}
	return plain(n, namespaces)
}

// plain is what JSON makes of a value.
func plain(t testing.TB, value any) (decoded any) {
	t.Helper()
	raw, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &decoded); err != nil {
		t.Fatal(err)
	}
	return decoded
}
