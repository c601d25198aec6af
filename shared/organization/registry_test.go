package organization

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"google.golang.org/protobuf/proto"

	"peerless/shared/docstore"
	"peerless/shared/msp"
	"peerless/shared/secret"
)

// openPlace returns what a registry is opened with in a directory, made if need be; in memory if it is empty.
func openPlace(t testing.TB, dir string) Config {
	t.Helper()
	if dir == "" {
		return Config{}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	key, err := secret.EnsureKey(filepath.Join(dir, "seal.key"))
	if err != nil {
		t.Fatal(err)
	}
	documents, err := docstore.OpenDir(filepath.Join(dir, "control"))
	if err != nil {
		t.Fatal(err)
	}
	return Config{Store: documents, Sealer: key}
}

func mustOpen(t testing.TB, dir string) *Registry {
	t.Helper()
	return mustOpenOn(t, openPlace(t, dir))
}

func mustOpenOn(t testing.TB, config Config) *Registry {
	t.Helper()
	r, err := Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func mustOrganization(t *testing.T, r *Registry, mspID string) *Organization {
	t.Helper()
	o, err := r.Organization(mspID)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func mustUser(t *testing.T, o *Organization, name string, attributes map[string]string) *msp.Signer {
	t.Helper()
	signer, err := o.User(name, attributes)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// has tells whether the organisation's own configuration takes a signer for one of its own, in a role, with its key.
func has(t *testing.T, o *Organization, signer *msp.Signer, role mspproto.MSPRole_MSPRoleType) bool {
	t.Helper()
	verifier, err := msp.New(o.MSPConfig())
	if err != nil {
		t.Fatal(err)
	}
	identity, err := verifier.Identify(signer.Serialized)
	if err != nil {
		t.Fatal(err)
	}
	message := []byte("message")
	signature, err := signer.Sign(message)
	if err != nil {
		t.Fatal(err)
	}
	if err := identity.Verify(message, signature); err != nil {
		t.Error(err)
	}
	principal, err := proto.Marshal(&mspproto.MSPRole{MspIdentifier: o.MSPID(), Role: role})
	if err != nil {
		t.Fatal(err)
	}
	return identity.Satisfies(&mspproto.MSPPrincipal{PrincipalClassification: mspproto.MSPPrincipal_ROLE, Principal: principal})
}

func TestRoles(t *testing.T) {
	t.Parallel()
	r := mustOpen(t, "")
	org := mustOrganization(t, r, "Org1MSP")
	orderer, err := r.Orderer()
	if err != nil {
		t.Fatal(err)
	}
	admin, err := org.Admin("ada")
	if err != nil {
		t.Fatal(err)
	}
	user := mustUser(t, org, "ada", map[string]string{"level": "3"})
	for _, c := range []struct {
		name   string
		of     *Organization
		signer *msp.Signer
		role   mspproto.MSPRole_MSPRoleType
		want   bool
	}{
		{"endorser", org, org.Endorser().Signer, mspproto.MSPRole_PEER, true},
		{"endorser", org, org.Endorser().Signer, mspproto.MSPRole_CLIENT, false},
		{"orderer", orderer, orderer.Orderer(), mspproto.MSPRole_ORDERER, true},
		{"admin", org, admin, mspproto.MSPRole_ADMIN, true},
		{"user", org, user, mspproto.MSPRole_CLIENT, true},
		{"user", org, user, mspproto.MSPRole_ADMIN, false},
	} {
		if got := has(t, c.of, c.signer, c.role); got != c.want {
			t.Errorf("%s is %s: got %v, want %v", c.name, c.role, got, c.want)
		}
	}
	attributes, err := user.Attributes()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"level": "3"}, attributes); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
	if org.Orderer() != nil || orderer.Endorser() != nil {
		t.Error("an organisation has an identity of a role that it does not play")
	}
	if diff := cmp.Diff([]string{"Org1MSP"}, r.Organizations()); diff != "" {
		t.Errorf("organisations (-want +got):\n%s", diff)
	}
}

func TestTheSameAfterRestart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "organizations")
	attributes := map[string]string{"b": "2", "a": "1"}
	all := func() map[string]string {
		r := mustOpen(t, dir)
		org := mustOrganization(t, r, "Org1MSP")
		admin, err := org.Admin("ada")
		if err != nil {
			t.Fatal(err)
		}
		orderer, err := r.Orderer()
		if err != nil {
			t.Fatal(err)
		}
		config, err := proto.Marshal(org.MSPConfig())
		if err != nil {
			t.Fatal(err)
		}
		return map[string]string{
			"config":   string(config),
			"endorser": string(org.Endorser().Serialized),
			"orderer":  string(orderer.Orderer().Serialized),
			"admin":    string(admin.Serialized),
			"user":     string(mustUser(t, org, "ada", nil).Serialized),
			"empty":    string(mustUser(t, org, "ada", map[string]string{}).Serialized),
			"with":     string(mustUser(t, org, "ada", attributes).Serialized),
			"other":    string(mustUser(t, org, "Ada", nil).Serialized),
		}
	}
	first, second := all(), all()
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("after a restart (-before +after):\n%s", diff)
	}
	if first["user"] != first["empty"] {
		t.Error("no attributes and empty ones are two users")
	}
	distinct := map[string]bool{}
	for _, name := range []string{"endorser", "orderer", "admin", "user", "with", "other"} {
		distinct[first[name]] = true
	}
	if got, want := len(distinct), 6; got != want {
		t.Errorf("got %d identities, want %d", got, want)
	}
	if diff := cmp.Diff([]string{"Org1MSP"}, mustOpen(t, dir).Organizations()); diff != "" {
		t.Errorf("organisations (-want +got):\n%s", diff)
	}
}

func TestIssuedOnce(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"", filepath.Join(t.TempDir(), "organizations")} {
		registries := []*Registry{mustOpen(t, dir)}
		if dir != "" { // as by two processes
			registries = append(registries, mustOpen(t, dir))
		}
		var (
			mu   sync.Mutex
			seen = map[string]bool{}
			wait sync.WaitGroup
		)
		for i := range 16 {
			wait.Go(func() {
				org, err := registries[i%len(registries)].Organization("Org1MSP")
				if err != nil {
					t.Error(err)
					return
				}
				user, err := org.User("ada", nil)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				seen[string(user.Serialized)+string(org.Endorser().Serialized)] = true
			})
		}
		wait.Wait()
		if len(seen) != 1 {
			t.Errorf("directory %q: got %d pairs of certificates, want 1", dir, len(seen))
		}
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "organizations")
	org := mustOrganization(t, mustOpen(t, dir), "Org1MSP")
	for _, name := range []string{"ada", "../../ada", "a/b", "a b", "日本", "..", ".", strings.Repeat("n", MaxName)} {
		if got := mustUser(t, org, name, nil).Cert.Subject.CommonName; got != name {
			t.Errorf("common name: got %q, want %q", got, name)
		}
	}
	files := 0
	err := filepath.WalkDir(filepath.Dir(dir), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == filepath.Dir(dir) {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if entry.IsDir() {
			want = 0o700
		} else if entry.Name() != ".lock" {
			files++
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s: got mode %o, want %o", path, got, want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := 8 + 1 + 1; files != want { // of users, the organisation and the key; locks aside
		t.Errorf("got %d files, want %d", files, want)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	r := mustOpen(t, "")
	org := mustOrganization(t, r, "Org1MSP")
	for _, name := range []string{"", "a\x00b", "a\nb", "\x7f", "\xff", strings.Repeat("n", MaxName+1)} {
		if _, err := org.User(name, nil); !errors.Is(err, ErrName) {
			t.Errorf("user %q: got %v, want ErrName", name, err)
		}
		if _, err := org.User("ada", map[string]string{name: ""}); !errors.Is(err, ErrName) {
			t.Errorf("attribute %q: got %v, want ErrName", name, err)
		}
	}
	for value, want := range map[string]error{strings.Repeat("v", MaxAttributes-1): nil, strings.Repeat("v", MaxAttributes): ErrName, "\xff": ErrName} {
		if _, err := org.User("ada", map[string]string{"a": value}); !errors.Is(err, want) {
			t.Errorf("attribute of %d bytes: got %v, want %v", len(value), err, want)
		}
	}
	for _, mspID := range []string{"", "a/b", "Org 1", "Örg", "a'b", strings.Repeat("m", MaxMSPID+1)} {
		if _, err := r.Organization(mspID); !errors.Is(err, ErrName) {
			t.Errorf("organisation %q: got %v, want ErrName", mspID, err)
		}
	}
	for _, mspID := range []string{".", "..", "a.b-c", strings.Repeat("m", MaxMSPID)} {
		if _, err := mustOpen(t, t.TempDir()).Organization(mspID); err != nil {
			t.Errorf("organisation %q: %v", mspID, err)
		}
	}
}

func TestDamaged(t *testing.T) {
	t.Parallel()
	for _, damage := range []struct {
		name string
		do   func([]byte) []byte
	}{
		{"empty", func([]byte) []byte { return nil }},
		{"truncated", func(b []byte) []byte { return b[:len(b)/2] }},
		{"flipped at the start", func(b []byte) []byte { b[0] ^= 1; return b }},
		{"flipped", func(b []byte) []byte { b[rand.IntN(len(b))] ^= 1; return b }},
		{"flipped at the end", func(b []byte) []byte { b[len(b)-1] ^= 1; return b }},
	} {
		dir := t.TempDir()
		mustUser(t, mustOrganization(t, mustOpen(t, dir), "Org1MSP"), "ada", nil)
		mustOrganization(t, mustOpen(t, dir), "Org2MSP")
		for _, pattern := range []string{"user/*.json", "organization/Org1MSP.json"} {
			matches, err := filepath.Glob(filepath.Join(dir, "control", pattern))
			if err != nil || len(matches) != 1 {
				t.Fatalf("%s: %v, %v", pattern, matches, err)
			}
			whole, err := os.ReadFile(matches[0])
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(matches[0], damage.do(append([]byte{}, whole...)), 0o600); err != nil {
				t.Fatal(err)
			}
			r := mustOpen(t, dir)
			org, err := r.Organization("Org1MSP")
			if err == nil {
				_, err = org.User("ada", nil)
			}
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("%s: %s: got %v, want ErrDamaged", pattern, damage.name, err)
			}
			mustUser(t, mustOrganization(t, r, "Org2MSP"), "ada", nil) // the others go on
			if err := os.Remove(filepath.Join(dir, "control", "user", "Org2MSP,"+strings.TrimPrefix(filepath.Base(userFileOf(t, dir)), "Org1MSP,"))); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(matches[0], whole, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func userFileOf(t *testing.T, dir string) string {
	t.Helper()
	matches, err := filepath.Glob(filepath.Join(dir, "control", "user", "Org1MSP,*.json"))
	if err != nil || len(matches) != 1 {
		t.Fatalf("%v, %v", matches, err)
	}
	return matches[0]
}

// Private keys are nowhere to be read, and open with their key alone.
func TestKeysAreSealed(t *testing.T) {
	t.Parallel()
	dir := fillOrganizations(t)
	for name, content := range contents(t, dir) {
		for _, mark := range []string{"PRIVATE KEY", "UFJJVkFURSBLRVk"} { // base64 too
			if strings.Contains(content, mark) {
				t.Errorf("%s holds %q", name, mark)
			}
		}
	}
	place := openPlace(t, dir)
	place.Sealer = secret.NewKey()
	if _, err := mustOpenOn(t, place).Organization("Org1MSP"); !errors.Is(err, secret.ErrOtherKey) {
		t.Errorf("with another key: %v", err)
	}
	if _, err := Open(t.Context(), Config{Store: place.Store}); err == nil {
		t.Error("opened documents without a sealer")
	}
}

// Also those beyond the first page are known.
func TestManyOrganizations(t *testing.T) {
	t.Parallel()
	place := Config{Store: docstore.NewMem(0), Sealer: secret.NewKey()}
	var want []string
	for i := range docstore.MaxPage + 5 {
		id := fmt.Sprintf("Org%03dMSP", i)
		want = append(want, id)
		if _, err := docstore.Create(t.Context(), place.Store, KindOrganization, id, record{}); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, mustOpenOn(t, place).Organizations()); diff != "" {
		t.Errorf("organisations (-want +got):\n%s", diff)
	}
}

// What is sealed for one identity is of no use in another's document.
func TestSwappedDocuments(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	place := Config{Store: docstore.NewMem(0), Sealer: secret.NewKey()}
	org := mustOrganization(t, mustOpenOn(t, place), "Org1MSP")
	mustUser(t, org, "ada", nil)
	mustUser(t, org, "eve", map[string]string{"role": "nobody"})
	id := func(name string, attributes map[string]string) string {
		hash, err := userHash(msp.IssueRequest{CommonName: name, Role: msp.RoleClient, Attributes: attributes})
		if err != nil {
			t.Fatal(err)
		}
		return "Org1MSP/" + hash
	}
	ada, err := place.Store.Get(ctx, KindUser, id("ada", nil))
	if err != nil {
		t.Fatal(err)
	}
	eve, err := place.Store.Get(ctx, KindUser, id("eve", map[string]string{"role": "nobody"}))
	if err != nil {
		t.Fatal(err)
	}
	eve.Value = ada.Value
	if _, err := place.Store.Put(ctx, eve); err != nil {
		t.Fatal(err)
	}
	_, err = mustOrganization(t, mustOpenOn(t, place), "Org1MSP").User("eve", map[string]string{"role": "nobody"})
	if !errors.Is(err, ErrDamaged) {
		t.Errorf("eve opens ada's key: %v", err)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	c := newCache[*msp.Signer]()
	for i := range 4 * generation {
		if _, err := c.get(fmt.Sprint(i), fmt.Sprint(i), func() (*msp.Signer, error) { return &msp.Signer{}, nil }); err != nil {
			t.Fatal(err)
		}
	}
	if got, limit := len(c.young)+len(c.old), 2*generation; got > limit {
		t.Errorf("the cache holds %d signers, want at most %d", got, limit)
	}
	r := mustOpenOn(t, Config{Store: docstore.NewMem(2), Sealer: secret.NewKey()}) // the organisation, one user
	org := mustOrganization(t, r, "Org1MSP")
	first := mustUser(t, org, "first", nil)
	if _, err := org.User("second", nil); !errors.Is(err, ErrFull) {
		t.Errorf("got %v, want ErrFull", err)
	}
	r.users = newCache[*msp.Signer]()
	if !first.Same(mustUser(t, org, "first", nil).Identity) {
		t.Error("a user was forgotten")
	}
}
