package pebble

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"peerless/shared/ledger"
)

// TestStagedBefore: sets that were staged before their time was kept are found, and make room first.
func TestStagedBefore(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	if err := fs.MkdirAll("data", 0o700); err != nil {
		t.Fatal(err)
	}
	limits := ledger.StagedLimits{Channel: 100, Total: 100}
	before := newPrivateLog(fs, "data", "data/private", limits)
	old := binary.AppendUvarint(appendString(appendString([]byte{privateStagedV1}, "ch"), "old"), 7)
	before.mu.Lock()
	_, _, err := before.write(append(old, "a set of sixty bytes, or of about that, that was staged before"...))
	before.mu.Unlock()
	if err == nil {
		err = before.close()
	}
	if err != nil {
		t.Fatal(err)
	}
	now := newPrivateLog(fs, "data", "data/private", limits)
	if _, err := now.open(); err != nil {
		t.Fatal(err)
	}
	if sets, err := now.find("ch", []string{"old"}); err != nil || string(sets[0]) != "a set of sixty bytes, or of about that, that was staged before" {
		t.Errorf("got %q, %v", sets, err)
	}
	if err := now.stage("ch", []ledger.StagedSet{{ID: "new", Set: []byte("another set of sixty bytes, which needs the room of the first")}}); err == nil {
		t.Error("it makes room when no time has passed since 1970")
	}
	at := ledger.StagedSet{ID: "new", At: time.Unix(1_800_000_000, 0), Set: []byte("another set of sixty bytes, which needs the room of the first")}
	if err := now.stage("ch", []ledger.StagedSet{at}); err != nil {
		t.Fatal(err)
	}
	if sets, err := now.find("ch", []string{"old", "new"}); err != nil || sets[0] != nil || string(sets[1]) != string(at.Set) {
		t.Errorf("got %q, %v", sets, err)
	}
}
