package organization

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"peerless/shared/collection"
	"peerless/shared/docstore"
	"peerless/shared/msp"
	"peerless/shared/secret"
)

// fillOrganizations makes one organisation of each kind, with users.
func fillOrganizations(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	r := mustOpen(t, dir)
	org := mustOrganization(t, r, "Org1MSP")
	mustUser(t, org, "ada", nil)
	mustUser(t, org, "ada", map[string]string{"role": "clerk", "a": "1"})
	mustUser(t, org, "日本", nil)
	if _, err := org.Admin("ada"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Orderer(); err != nil {
		t.Fatal(err)
	}
	ca, authority := mustCA(t, "Org2MSP")
	if _, err := r.Add("Org2MSP", Member{Config: ca.Config(), Endorser: mustIssue(t, ca, "peer0", msp.RolePeer)}); err != nil {
		t.Fatal(err)
	}
	_, brought := mustCA(t, "Org3MSP")
	added, err := r.Add("Org3MSP", Member{Authority: brought})
	if err != nil {
		t.Fatal(err)
	}
	mustUser(t, added, "bob", nil)
	if _, err := r.Add("Org4MSP", Member{Authority: authority}); err != nil {
		t.Fatal(err)
	}
	for _, mspID := range []string{"Org1MSP", "Org2MSP"} {
		if _, err := r.DataKey(mspID); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// contents returns every file below a directory.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		files[strings.TrimPrefix(path, dir+"/")] = string(raw)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func verify(t *testing.T, dir string) error {
	t.Helper()
	place := openPlace(t, dir)
	return Verify(t.Context(), place.Store.(*docstore.Dir), place.Sealer)
}

func TestVerify(t *testing.T) {
	t.Parallel()
	dir := fillOrganizations(t)
	before := contents(t, dir)
	if err := verify(t, dir); err != nil {
		t.Errorf("sound: %v", err)
	}
	if diff := cmp.Diff(before, contents(t, dir)); diff != "" {
		t.Errorf("verify changed the directory (-before +after):\n%s", diff)
	}
	if err := verify(t, t.TempDir()); err != nil {
		t.Errorf("absent: %v", err)
	}
	place := openPlace(t, dir)
	if err := Verify(t.Context(), place.Store.(*docstore.Dir), secret.NewKey()); !errors.Is(err, secret.ErrOtherKey) {
		t.Errorf("with another key: %v", err)
	}
}

// TestDataKeys: who only looks opens what is there, and makes nothing.
func TestDataKeys(t *testing.T) {
	t.Parallel()
	dir := fillOrganizations(t)
	place, place2 := mustOpen(t, dir), openPlace(t, dir)
	made, err := place.DataKey("Org1MSP")
	if err != nil {
		t.Fatal(err)
	}
	before := contents(t, dir)
	keys := DataKeys(t.Context(), place2.Store, place2.Sealer)
	found, err := keys.DataKey("Org1MSP")
	if err != nil {
		t.Fatal(err)
	}
	if opened, err := found.Open(nil, nil, made.Seal(nil, nil, []byte("text"), nil), nil); err != nil || string(opened) != "text" {
		t.Errorf("it is another key: %v", err)
	}
	for range 2 {
		if _, err := keys.DataKey("OrdererMSP"); !errors.Is(err, collection.ErrNoKey) {
			t.Errorf("a key that nobody made: %v, want ErrNoKey", err)
		}
	}
	if diff := cmp.Diff(before, contents(t, dir)); diff != "" {
		t.Errorf("to look changed the directory (-before +after):\n%s", diff)
	}
}

// TestVerifyNotices damages one directory after the other, by documents that are whole.
func TestVerifyNotices(t *testing.T) {
	t.Parallel()
	client := func(name string) string {
		hash, err := userHash(msp.IssueRequest{CommonName: name, Role: msp.RoleClient})
		if err != nil {
			t.Fatal(err)
		}
		return "Org1MSP/" + hash
	}
	ada, japan := client("ada"), client("日本")
	admin, err := userHash(msp.IssueRequest{CommonName: "ada", Role: msp.RoleAdmin})
	if err != nil {
		t.Fatal(err)
	}
	other, otherAuthority := mustCA(t, "Org1MSP")
	stranger := mustIssue(t, other, "ada", msp.RoleClient)
	for name, c := range map[string]struct {
		damage func(t *testing.T, r *Registry)
		want   []string // a part of each problem
	}{
		"a key of another certificate": {func(t *testing.T, r *Registry) {
			change(t, r, KindUser, ada, func(p *pair) { p.Certificate = mustPair(t, r, japan).Certificate })
		}, []string{"user " + ada + " key: new signer of Org1MSP: unusable private key: it is not the certificate's"}},
		"another's sealed key": {func(t *testing.T, r *Registry) {
			change(t, r, KindUser, ada, func(p *pair) { *p = *mustPair(t, r, japan) })
		}, []string{"open user " + ada + " key: it is not what was sealed for this"}},
		"another authority's certificate": {func(t *testing.T, r *Registry) {
			change(t, r, KindUser, ada, func(p *pair) { *p = *mustSeal(t, r, stranger, purpose(KindUser, ada, partKey)) })
		}, []string{"user " + ada + ": malformed identity of Org1MSP, ada"}},
		"an administrator's certificate": {func(t *testing.T, r *Registry) {
			change(t, r, KindUser, ada, func(p *pair) { *p = *reseal(t, r, "Org1MSP/"+admin, ada) })
		}, []string{"user " + ada + ": it is the certificate of another user, \"ada\""}},
		"another authority": {func(t *testing.T, r *Registry) {
			change(t, r, KindOrganization, "Org1MSP", func(rec *record) {
				rec.Authority = mustSeal(t, r, otherAuthority, purpose(KindOrganization, "Org1MSP", partAuthority))
			})
		}, []string{"organization Org1MSP endorser", "user Org1MSP/", "user Org1MSP/", "user Org1MSP/", "user Org1MSP/"}},
		"another authority than the configuration's": {func(t *testing.T, r *Registry) {
			change(t, r, KindOrganization, "Org3MSP", func(rec *record) {
				rec.Authority = mustSeal(t, r, otherAuthority, purpose(KindOrganization, "Org3MSP", partAuthority))
			})
		}, []string{"organization Org3MSP authority"}},
		"no organisation": {func(t *testing.T, r *Registry) {
			if err := r.Store.Delete(t.Context(), KindOrganization, "Org1MSP", ""); err != nil {
				t.Fatal(err)
			}
		}, []string{"organization Org1MSP: it is missing"}},
		"neither authority nor configuration": {func(t *testing.T, r *Registry) {
			change(t, r, KindOrganization, "Org2MSP", func(rec *record) { *rec = record{} })
		}, []string{"organization Org2MSP: it has neither"}},
		"another configuration": {func(t *testing.T, r *Registry) {
			change(t, r, KindOrganization, "Org2MSP", func(rec *record) {
				config, err := proto.Marshal(other.Config())
				if err != nil {
					t.Error(err)
				}
				rec.Config = config
			})
		}, []string{"organization Org2MSP: it is not a configuration of Org2MSP"}},
		"a configuration that is none": {func(t *testing.T, r *Registry) {
			change(t, r, KindOrganization, "Org2MSP", func(rec *record) { rec.Config = []byte("\xff") })
		}, []string{"organization Org2MSP"}},
		"no identity": {func(t *testing.T, r *Registry) {
			change(t, r, KindOrganization, OrdererMSP, func(rec *record) { rec.Orderer = &pair{} })
		}, []string{"open organization OrdererMSP orderer"}},
		"another organisation's data key": {func(t *testing.T, r *Registry) {
			change(t, r, KindDataKey, "Org1MSP", func(k *dataKey) {
				doc, err := r.Store.Get(t.Context(), KindDataKey, "Org2MSP")
				if err == nil {
					err = doc.Decode(k)
				}
				if err != nil {
					t.Error(err)
				}
			})
		}, []string{"datakey Org1MSP key: it is not what was sealed for this"}},
		"other documents": {func(t *testing.T, r *Registry) {
			if _, err := docstore.Create(t.Context(), r.Store, KindUser, "Org1MSP/stray", mustPair(t, r, ada)); err != nil {
				t.Fatal(err)
			}
			if _, err := docstore.Create(t.Context(), r.Store, KindOrganization, "a/b", record{}); err != nil {
				t.Fatal(err)
			}
		}, []string{"organization a/b: not a valid name", "open user Org1MSP/stray key"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := fillOrganizations(t)
			c.damage(t, mustOpen(t, dir))
			err := verify(t, dir)
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("got %v, want ErrDamaged", err)
			}
			problems := strings.Split(err.Error(), "\n")
			slices.SortFunc(problems, func(a, b string) int {
				return strings.Compare(strings.TrimPrefix(a, ErrDamaged.Error()), strings.TrimPrefix(b, ErrDamaged.Error()))
			})
			if len(problems) != len(c.want) {
				t.Fatalf("got %d problems, want %d:\n%v", len(problems), len(c.want), err)
			}
			for _, want := range c.want {
				i := slices.IndexFunc(problems, func(problem string) bool { return strings.Contains(problem, want) })
				if i < 0 {
					t.Errorf("no problem says %q: %q", want, problems)
					continue
				}
				problems = slices.Delete(problems, i, i+1)
			}
		})
	}
}

func change[T any](t *testing.T, r *Registry, kind, id string, edit func(*T)) {
	t.Helper()
	if _, err := docstore.Update(t.Context(), r.Store, kind, id, func(v *T, exists bool) error {
		if !exists {
			t.Errorf("there is no %s %s", kind, id)
		}
		edit(v)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func mustPair(t *testing.T, r *Registry, id string) *pair {
	t.Helper()
	doc, err := r.Store.Get(t.Context(), KindUser, id)
	var p pair
	if err == nil {
		err = doc.Decode(&p)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &p
}

func mustSeal(t *testing.T, r *Registry, k *KeyPair, purpose string) *pair {
	t.Helper()
	p, err := r.seal(t.Context(), k.Certificate, k.Key, purpose)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// reseal returns a user's pair as if it had been made for another.
func reseal(t *testing.T, r *Registry, from, to string) *pair {
	t.Helper()
	p := mustPair(t, r, from)
	key, err := r.unseal(t.Context(), p.Key, purpose(KindUser, from, partKey))
	if err != nil {
		t.Fatal(err)
	}
	return mustSeal(t, r, &KeyPair{[]byte(p.Certificate), key}, purpose(KindUser, to, partKey))
}
