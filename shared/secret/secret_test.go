package secret_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"peerless/shared/secret"
)

func TestKey(t *testing.T) {
	t.Parallel()
	k, other := secret.NewKey(), secret.NewKey()
	ctx := t.Context()
	for _, plain := range []string{"", "x", strings.Repeat("key", 1000)} {
		sealed, err := k.Seal(ctx, []byte(plain), "identity/a")
		if err != nil {
			t.Fatal(err)
		}
		again, err := k.Seal(ctx, []byte(plain), "identity/a")
		if err != nil || bytes.Equal(sealed, again) {
			t.Errorf("sealed twice to the same bytes, %v", err)
		}
		if len(plain) > 3 && bytes.Contains(sealed, []byte(plain[:3])) {
			t.Error("the secret is readable")
		}
		reread, err := secret.ParseKey(k.Text())
		if err != nil {
			t.Fatal(err)
		}
		opened, err := reread.Open(ctx, sealed, "identity/a")
		if err != nil || string(opened) != plain {
			t.Errorf("opened %q, %v", opened, err)
		}
		if _, err := k.Open(ctx, sealed, "identity/b"); !errors.Is(err, secret.ErrBroken) {
			t.Errorf("for another purpose: %v", err)
		}
		if _, err := other.Open(ctx, sealed, "identity/a"); !errors.Is(err, secret.ErrOtherKey) {
			t.Errorf("with another key: %v", err)
		}
	}
	sealed, err := k.Seal(ctx, []byte("secret"), "p")
	if err != nil {
		t.Fatal(err)
	}
	for i := range sealed {
		flipped := bytes.Clone(sealed)
		flipped[i] ^= 4
		if opened, err := k.Open(ctx, flipped, "p"); !errors.Is(err, secret.ErrBroken) && !errors.Is(err, secret.ErrOtherKey) {
			t.Errorf("byte %d flipped: %q, %v", i, opened, err)
		}
		if opened, err := k.Open(ctx, sealed[:i], "p"); !errors.Is(err, secret.ErrBroken) && !errors.Is(err, secret.ErrOtherKey) {
			t.Errorf("cut at %d: %q, %v", i, opened, err)
		}
	}
}

func TestKeyIsNotPrinted(t *testing.T) {
	t.Parallel()
	k := secret.NewKey()
	bare := strings.TrimPrefix(k.Text(), "peerless-seal-")
	for _, format := range []string{"%v", "%s", "%+v", "%#v"} {
		if out := fmt.Sprintf(format, k); strings.Contains(out, bare) {
			t.Errorf("%s prints the key: %s", format, out)
		}
	}
}

func TestParseKey(t *testing.T) {
	t.Parallel()
	text := secret.NewKey().Text()
	if _, err := secret.ParseKey(" " + text + "\n"); err != nil {
		t.Errorf("with spaces around: %v", err)
	}
	for _, bad := range []string{"", "x", text[:len(text)-1], text + "A", strings.TrimPrefix(text, "peerless-"), strings.ToUpper(text), text + "=", text[:20] + " " + text[21:]} {
		_, err := secret.ParseKey(bad)
		if !errors.Is(err, secret.ErrKeyFile) {
			t.Errorf("%q: %v", bad, err)
		}
		if err != nil && len(bad) > 20 && strings.Contains(err.Error(), bad[14:30]) {
			t.Errorf("the error shows the key: %v", err)
		}
	}
}

func TestKeyFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "seal.key")
	if _, err := secret.LoadKey(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none yet: %v", err)
	}
	texts := make([]string, 8)
	var wait sync.WaitGroup
	for i := range texts {
		wait.Go(func() {
			k, err := secret.EnsureKey(path)
			if err != nil {
				t.Error(err)
				return
			}
			texts[i] = k.Text()
		})
	}
	wait.Wait()
	for _, text := range texts {
		if text != texts[0] {
			t.Fatal("two who made a key have different ones")
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode: %v, %v", info.Mode(), err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole { // also the newline, and bits of the last character that base64 would not mind
		for _, bit := range []byte{1, 2, 4, 32} {
			flipped := bytes.Clone(whole)
			flipped[i] ^= bit
			if err := os.WriteFile(path, flipped, 0o600); err != nil {
				t.Fatal(err)
			}
			if k, err := secret.LoadKey(path); err == nil && k.Text() == texts[0] {
				t.Errorf("bit %d of byte %d flipped: it is the same key", bit, i)
			}
		}
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := secret.LoadKey(path); !errors.Is(err, secret.ErrKeyFile) || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("readable by the group: %v", err)
	}
	if _, err := secret.EnsureKey(filepath.Join(path, "missing", "seal.key")); err == nil {
		t.Error("made a key below a file")
	}
}

func FuzzOpen(f *testing.F) {
	k := secret.NewKey()
	sealed, _ := k.Seal(f.Context(), []byte("secret"), "p")
	f.Add(sealed)
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, raw []byte) {
		if opened, err := k.Open(t.Context(), raw, "p"); err == nil && (!bytes.Equal(raw, sealed) || string(opened) != "secret") {
			t.Errorf("forged: %x opens to %q", raw, opened)
		}
	})
}
