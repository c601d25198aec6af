package organization

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestCheckpointKey(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "checkpoints")
	if err := VerifyCheckpointKey(dir); err != nil {
		t.Errorf("none yet: %v", err)
	}
	first, err := CheckpointKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	again, err := CheckpointKey(dir)
	if err != nil || !again.Equal(first) {
		t.Errorf("it is another key when it is asked for again (%v)", err)
	}
	info, err := os.Stat(filepath.Join(dir, checkpointFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode: got %v, %v", info.Mode(), err)
	}
	if err := VerifyCheckpointKey(dir); err != nil {
		t.Error(err)
	}
	passing, err := CheckpointKey("")
	if err != nil || passing.Equal(first) {
		t.Errorf("in memory: it is the same key (%v)", err)
	}
}

// TestCheckpointKeyDamaged: another key is not made in place of one that cannot be read.
func TestCheckpointKeyDamaged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := CheckpointKey(dir); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, checkpointFile)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	other := "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
	for name, content := range map[string]string{
		"empty": "", "cut short": string(whole[:len(whole)/2]), "a flipped bit": string(whole[:len(whole)-40]) + "x" + string(whole[len(whole)-39:]),
		"no PEM": checksum([]byte("key")) + "key", "no key": checksum([]byte(other)) + other,
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := CheckpointKey(dir); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: got %v", name, err)
		}
		if err := VerifyCheckpointKey(dir); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: verify got %v", name, err)
		}
	}
}
