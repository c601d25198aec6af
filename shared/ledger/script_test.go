package ledger_test

import (
	"bufio"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"peerless/shared/ledger"
	"peerless/shared/policy"
	"peerless/shared/simulate"
	"peerless/shared/store/mem"
	"peerless/shared/wire"
)

var update = flag.Bool("update", false, "rewrite testdata/script with what the ledger answers")

// TestScripts runs testdata/script/*.txt: interleavings of transactions and the verdicts that they get. A line is a command;
// what it answers stands below it, indented.
//
//	tx NAME [by ORG,…] STEP…   simulates a transaction on the present state
//	block NAME…                orders transactions in one block and shows their codes
//	state KEY…                 shows keys with their versions, relative to the first block after the definition
//	history KEY
//
// A step is get:KEY, put:KEY=VALUE, del:KEY, range:START,END, policy:KEY=ORG,… (a key-level policy, all must endorse), or
// read:KEY=BLOCK.TX, a read that names a version, relative as above; "none" is no such key.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/script/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := runScript(t, string(want))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(want) {
				t.Errorf("%s answers\n%s\nwant\n%s", file, got, want)
			}
		})
	}
}

func runScript(t *testing.T, text string) string {
	s := &script{fixture: newFixture(t, mem.Config{}), txs: map[string]*ledger.Submission{}}
	height, err := s.channel.Height(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.first = height
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "  ") {
			continue
		}
		s.out.WriteString(line + "\n")
		if words := strings.Fields(line); len(words) > 0 && !strings.HasPrefix(line, "#") {
			s.command(words[0], words[1:])
		}
	}
	return s.out.String()
}

type script struct {
	*fixture
	txs   map[string]*ledger.Submission
	first uint64
	out   strings.Builder
}

func (s *script) answer(format string, args ...any) {
	fmt.Fprintf(&s.out, "  "+format+"\n", args...)
}

func (s *script) command(name string, args []string) {
	switch name {
	case "tx":
		s.simulate(args[0], args[1:])
	case "block":
		s.block(args)
	case "state":
		s.state(args)
	case "history":
		s.history(args[0])
	default:
		s.t.Fatalf("no command %q", name)
	}
}

func (s *script) view() ledger.View {
	view, err := s.channel.View(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { view.Close() })
	return view
}

func (s *script) simulate(name string, steps []string) {
	tx := transaction{}
	if steps[0] == "by" {
		tx.endorsers = strings.Split(steps[1], ",")
		steps = steps[2:]
	}
	sim := simulate.New(s.view(), name)
	var named []*kvrwset.KVRead
	for _, step := range steps {
		op, rest, _ := strings.Cut(step, ":")
		key, value, _ := strings.Cut(rest, "=")
		var err error
		switch op {
		case "get":
			_, err = sim.GetState(s.t.Context(), "cc", key)
		case "put":
			err = sim.PutState("cc", key, []byte(value))
		case "del":
			err = sim.DelState("cc", key)
		case "policy":
			err = sim.SetStateMetadata("cc", key, map[string][]byte{peer.MetaDataKeys_VALIDATION_PARAMETER.String(): allOf(s.t, strings.Split(value, ","))})
		case "range":
			start, end, _ := strings.Cut(rest, ",")
			var rows *simulate.Iterator
			if rows, err = sim.Range(s.t.Context(), "cc", start, end); err == nil {
				for more := true; more && err == nil; {
					_, more, err = rows.Next(s.t.Context())
				}
			}
		case "read":
			named = append(named, &kvrwset.KVRead{Key: key, Version: s.version(value)})
		default:
			err = fmt.Errorf("no step %q", op)
		}
		if err != nil {
			s.t.Fatalf("tx %s: %s: %v", name, step, err)
		}
	}
	set, err := sim.Results()
	if err != nil {
		s.t.Fatal(err)
	}
	if len(named) > 0 {
		if len(set.Namespaces) == 0 {
			set.Namespaces = []wire.NamespaceSet{{Namespace: "cc", KV: &kvrwset.KVRWSet{}}}
		}
		set.Namespaces[0].KV.Reads = append(set.Namespaces[0].KV.Reads, named...)
	}
	tx.set = set
	s.txs[name] = s.sign(tx)
}

func (s *script) version(text string) *kvrwset.Version {
	if text == "none" {
		return nil
	}
	block, tx, _ := strings.Cut(text, ".")
	b, err1 := strconv.ParseUint(block, 10, 64)
	n, err2 := strconv.ParseUint(tx, 10, 64)
	if err1 != nil || err2 != nil {
		s.t.Fatalf("no version %q", text)
	}
	return &kvrwset.Version{BlockNum: s.first + b, TxNum: n}
}

func (s *script) block(names []string) {
	height, err := s.channel.Height(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	submissions := make([]*ledger.Submission, len(names))
	for i, name := range names {
		if submissions[i] = s.txs[name]; submissions[i] == nil {
			s.t.Fatalf("no transaction %q", name)
		}
	}
	if err := s.channel.Enqueue(submissions...); err != nil {
		s.t.Fatal(err)
	}
	if err := s.channel.Wait(s.t.Context(), height); err != nil {
		s.t.Fatal(err)
	}
	block, err := s.channel.Block(s.t.Context(), height)
	if err != nil {
		s.t.Fatal(err)
	}
	codes, err := wire.ValidationCodes(block)
	if err != nil {
		s.t.Fatal(err)
	}
	if len(codes) != len(names) {
		s.t.Fatalf("the block has %d transactions, want %d", len(codes), len(names))
	}
	for i, name := range names {
		s.answer("%d.%d %s %s", height-s.first, i, name, codes[i])
	}
}

func (s *script) state(keys []string) {
	items, err := s.view().Get(s.t.Context(), "cc", keys)
	if err != nil {
		s.t.Fatal(err)
	}
	for i, key := range keys {
		if items[i] == nil {
			s.answer("%s none", key)
			continue
		}
		metadata := ""
		if items[i].Metadata != nil {
			metadata = " with policy " + hex.EncodeToString(items[i].Metadata)[:8]
		}
		s.answer("%s = %s at %d.%d%s", key, items[i].Value, items[i].Version.Block-s.first, items[i].Version.Tx, metadata)
	}
}

func (s *script) history(key string) {
	changes, err := s.view().History(s.t.Context(), "cc", key, ledger.Version{}, 100)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, c := range changes {
		if c.IsDelete {
			s.answer("deleted at %d.%d", c.Version.Block-s.first, c.Version.Tx)
		} else {
			s.answer("%s at %d.%d", c.Value, c.Version.Block-s.first, c.Version.Tx)
		}
	}
}

// allOf is a key-level policy: a peer of each organisation must endorse.
func allOf(t *testing.T, organizations []string) []byte {
	t.Helper()
	principals := make([]string, len(organizations))
	for i, id := range organizations {
		principals[i] = "'" + id + ".peer'"
	}
	envelope, err := policy.Parse("AND(" + strings.Join(principals, ",") + ")")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := proto.Marshal(envelope)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
