package organization

import (
	"errors"
	"path/filepath"
	"testing"

	"peerless/shared/docstore"
)

func TestCheckpointKey(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	first, err := mustOpen(t, dir).CheckpointKey()
	if err != nil {
		t.Fatal(err)
	}
	again, err := mustOpen(t, dir).CheckpointKey()
	if err != nil || !again.Equal(first) {
		t.Errorf("it is another key when it is asked for again (%v)", err)
	}
	passing, err := mustOpen(t, "").CheckpointKey()
	if err != nil || passing.Equal(first) {
		t.Errorf("in memory: it is the same key (%v)", err)
	}
}

// TestCheckpointKeyDamaged: another key is not made in place of one that cannot be read.
func TestCheckpointKeyDamaged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	place := openPlace(t, dir)
	if _, err := mustOpenOn(t, place).CheckpointKey(); err != nil {
		t.Fatal(err)
	}
	sealedFor := func(content, purpose string) []byte {
		sealed, err := place.Sealer.Seal(t.Context(), []byte(content), purpose)
		if err != nil {
			t.Fatal(err)
		}
		return sealed
	}
	for name, sealed := range map[string][]byte{
		"no sealed text": []byte("key"), "empty": {}, "no key": sealedFor("AAAA", checkpointPurpose), "for another purpose": sealedFor("AAAA", "x"),
	} {
		if _, err := docstore.Update(t.Context(), place.Store, KindOrganization, OrdererMSP, func(rec *record, _ bool) error {
			rec.Checkpoint = sealed
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if len(sealed) == 0 {
			continue // it is left out, as if it had never been made
		}
		if _, err := mustOpenOn(t, place).CheckpointKey(); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: got %v", name, err)
		}
		if err := Verify(t.Context(), place.Store.(*docstore.Dir), place.Sealer); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: verify got %v", name, err)
		}
	}
}
