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
	"time"

	"github.com/google/go-cmp/cmp"
	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"google.golang.org/protobuf/proto"

	"peerless/shared/msp"
)

func mustOpen(t *testing.T, dir string) *Registry {
	t.Helper()
	r, err := Open(dir)
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
		{"endorser", org, org.Endorser(), mspproto.MSPRole_PEER, true},
		{"endorser", org, org.Endorser(), mspproto.MSPRole_CLIENT, false},
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
		} else {
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
	if want := 8 + 2; files != want { // authority and endorser; nothing left in tmp
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
		{"no key", func(b []byte) []byte { certificate, _ := splitPEM(b); return certificate }},
		{"flipped at the start", func(b []byte) []byte { b[0] ^= 1; return b }},
		{"flipped", func(b []byte) []byte { b[rand.IntN(len(b))] ^= 1; return b }},
		{"flipped at the end", func(b []byte) []byte { b[len(b)-1] ^= 1; return b }},
	} {
		dir := t.TempDir()
		mustUser(t, mustOrganization(t, mustOpen(t, dir), "Org1MSP"), "ada", nil)
		for _, pattern := range []string{"users/*/*.pem", endorserFile, authorityFile} {
			matches, err := filepath.Glob(filepath.Join(dir, prefix+"Org1MSP", pattern))
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
			org, err := mustOpen(t, dir).Organization("Org1MSP")
			if err == nil {
				_, err = org.User("ada", nil)
			}
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("%s: %s: got %v, want ErrDamaged", pattern, damage.name, err)
			}
			if err := os.WriteFile(matches[0], whole, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestAbandonedFilesAreRemoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mustOpen(t, dir)
	abandoned, current := filepath.Join(dir, temporary, "new-1"), filepath.Join(dir, temporary, "new-2")
	for _, path := range []string{abandoned, current} {
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-2 * abandonedAfter)
	if err := os.Chtimes(abandoned, old, old); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, dir)
	if _, err := os.Stat(abandoned); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("abandoned file: got %v, want it removed", err)
	}
	if _, err := os.Stat(current); err != nil {
		t.Errorf("file being written: %v", err)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	c := newCache()
	for i := range 4 * generation {
		if _, err := c.get(fmt.Sprint(i), func() (*msp.Signer, error) { return &msp.Signer{}, nil }); err != nil {
			t.Fatal(err)
		}
	}
	if got, limit := len(c.young)+len(c.old), 2*generation; got > limit {
		t.Errorf("the cache holds %d signers, want at most %d", got, limit)
	}
	r := mustOpen(t, "")
	r.keep.(*memory).limit = 3 // authority, endorser, one user
	org := mustOrganization(t, r, "Org1MSP")
	first := mustUser(t, org, "first", nil)
	if _, err := org.User("second", nil); !errors.Is(err, ErrFull) {
		t.Errorf("got %v, want ErrFull", err)
	}
	r.cache = newCache()
	if !first.Same(mustUser(t, org, "first", nil).Identity) {
		t.Error("a user was forgotten")
	}
}
