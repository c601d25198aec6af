package organization

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"peerless/shared/docstore"
	"peerless/shared/msp"
	"peerless/shared/secret"
)

// legacy copies a directory that the version before documents wrote, and says what it holds. Its keys are of no other use.
func legacy(t *testing.T) (dir string, want map[string]string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/legacy")); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile("testdata/legacy/facts.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	return dir, want
}

func importLegacy(t *testing.T, r *Registry, dir string) error {
	t.Helper()
	return r.Import(t.Context(), filepath.Join(dir, "organizations"), filepath.Join(dir, "checkpoints"))
}

func TestImport(t *testing.T) {
	t.Parallel()
	dir, want := legacy(t)
	place := openPlace(t, dir)
	if err := importLegacy(t, mustOpenOn(t, place), dir); err != nil {
		t.Fatal(err)
	}
	r := mustOpenOn(t, place)
	if err := importLegacy(t, r, dir); err != nil {
		t.Errorf("again: %v", err)
	}
	org, org2 := mustOrganization(t, r, "Org1MSP"), mustOrganization(t, r, "Org2MSP")
	orderer, err := r.Orderer()
	if err != nil {
		t.Fatal(err)
	}
	admin, err := org.Admin("ada")
	if err != nil {
		t.Fatal(err)
	}
	checkpoint, err := r.CheckpointKey()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{"checkpoint": hex.EncodeToString(checkpoint)}
	for name, signer := range map[string]*msp.Signer{
		"Org1MSP endorser": org.Endorser().Signer, "Org2MSP endorser": org2.Endorser().Signer, "orderer": orderer.Orderer(), "Org1MSP admin": admin,
		"Org1MSP ada": mustUser(t, org, "ada", nil), "Org1MSP ada clerk": mustUser(t, org, "ada", map[string]string{"role": "clerk", "a": "1"}),
	} {
		got[name] = hex.EncodeToString(signer.Serialized)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("identities (- before, + imported):\n%s", diff)
	}
	if err := Verify(t.Context(), place.Store.(*docstore.Dir), place.Sealer); err != nil {
		t.Error(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if name := entry.Name(); name != "control" && name != "seal.key" && name != "facts.json" {
			t.Errorf("%s is still there", name)
		}
	}
}

// What is damaged is not imported, and nothing is removed.
func TestImportNotices(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(dir string) error{
		"a flipped bit": func(dir string) error {
			path := filepath.Join(dir, "organizations", "msp-Org1MSP", "endorser.pem")
			raw, err := os.ReadFile(path)
			raw[200] ^= 1
			return errors.Join(err, os.WriteFile(path, raw, 0o600))
		},
		"no authority": func(dir string) error {
			return os.Remove(filepath.Join(dir, "organizations", "msp-Org1MSP", "authority.pem"))
		},
		"a stray file": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "organizations", "stray"), nil, 0o600)
		},
		"a checkpoint key cut short": func(dir string) error {
			return os.Truncate(filepath.Join(dir, "checkpoints", "ed25519.pem"), 100)
		},
	} {
		dir, _ := legacy(t)
		if err := damage(dir); err != nil {
			t.Fatal(err)
		}
		before := contents(t, filepath.Join(dir, "organizations"))
		if err := importLegacy(t, mustOpenOn(t, Config{Store: docstore.NewMem(0), Sealer: secret.NewKey()}), dir); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(before, contents(t, filepath.Join(dir, "organizations"))); diff != "" {
			t.Errorf("%s: the directory has changed:\n%s", name, diff)
		}
	}
}
