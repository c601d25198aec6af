package organization

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"peerless/shared/msp"
)

// fillOrganizations makes one organisation of each kind, with users.
func fillOrganizations(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "organizations")
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

func TestVerify(t *testing.T) {
	t.Parallel()
	dir := fillOrganizations(t)
	if err := os.Mkdir(filepath.Join(dir, prefix+"Org5MSP"), 0o700); err != nil { // interrupted
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, temporary, "new-1"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := contents(t, dir)
	if err := Verify(dir); err != nil {
		t.Errorf("sound: %v", err)
	}
	if diff := cmp.Diff(before, contents(t, dir)); diff != "" {
		t.Errorf("verify changed the directory (-before +after):\n%s", diff)
	}
	if err := Verify(filepath.Join(dir, "absent")); err != nil {
		t.Errorf("absent: %v", err)
	}
	if err := Verify(filepath.Join(dir, temporary, "new-1")); err == nil || errors.Is(err, ErrDamaged) {
		t.Errorf("not a directory: %v", err)
	}
}

// TestVerifyNotices damages one directory after the other. What is written has a valid checksum unless it is said otherwise.
func TestVerifyNotices(t *testing.T) {
	t.Parallel()
	ada, err := userFile(msp.IssueRequest{CommonName: "ada", Role: msp.RoleClient})
	if err != nil {
		t.Fatal(err)
	}
	japan, err := userFile(msp.IssueRequest{CommonName: "日本", Role: msp.RoleClient})
	if err != nil {
		t.Fatal(err)
	}
	other, otherAuthority := mustCA(t, "Org1MSP")
	stranger := mustIssue(t, other, "ada", msp.RoleClient)
	pem := func(pair *KeyPair) string { return string(pair.Certificate) + string(pair.Key) }
	const org1, org2 = prefix + "Org1MSP/", prefix + "Org2MSP/"
	for name, c := range map[string]struct {
		damage func(t *testing.T, d *directory)
		want   []string // a part of each problem
	}{
		"a checksum": {func(t *testing.T, d *directory) {
			if err := os.WriteFile(filepath.Join(d.root, org1+endorserFile), []byte("sha256 0\nx"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, []string{org1 + endorserFile + ": its checksum is wrong"}},
		"a key of another certificate": {func(t *testing.T, d *directory) {
			certificate, _ := splitPEM(mustLoad(t, d, org1+ada))
			_, key := splitPEM(mustLoad(t, d, org1+japan))
			mustReplace(t, d, org1+ada, string(certificate)+string(key))
		}, []string{org1 + ada + ": new signer of Org1MSP: unusable private key: it is not the certificate's"}},
		"another authority's certificate": {func(t *testing.T, d *directory) {
			mustReplace(t, d, org1+ada, pem(stranger))
		}, []string{org1 + ada + ": malformed identity of Org1MSP, ada"}},
		"another user's certificate": {func(t *testing.T, d *directory) {
			mustReplace(t, d, org1+ada, string(mustLoad(t, d, org1+japan)))
		}, []string{org1 + ada + ": it is the certificate of another user, \"日本\""}},
		"an administrator's certificate": {func(t *testing.T, d *directory) {
			admin, err := userFile(msp.IssueRequest{CommonName: "ada", Role: msp.RoleAdmin})
			if err != nil {
				t.Fatal(err)
			}
			mustReplace(t, d, org1+ada, string(mustLoad(t, d, org1+admin)))
		}, []string{org1 + ada + ": it is the certificate of another user"}},
		"another authority": {func(t *testing.T, d *directory) {
			mustReplace(t, d, org1+authorityFile, pem(otherAuthority))
		}, []string{"endorser.pem", "users/", "users/", "users/", "users/"}},
		"another authority than the configuration's": {func(t *testing.T, d *directory) {
			mustReplace(t, d, org2+authorityFile, pem(otherAuthority))
		}, []string{org2 + authorityFile}},
		"no authority": {func(t *testing.T, d *directory) {
			if err := os.Remove(filepath.Join(d.root, org1+authorityFile)); err != nil {
				t.Fatal(err)
			}
		}, []string{org1 + authorityFile + ": it is missing"}},
		"another configuration": {func(t *testing.T, d *directory) {
			mustReplace(t, d, org2+configFile, string(mustLoad(t, d, prefix+"Org3MSP/"+configFile)))
		}, []string{org2 + configFile + ": it is not a configuration of Org2MSP"}},
		"a configuration that is none": {func(t *testing.T, d *directory) {
			mustReplace(t, d, org2+configFile, "\xff")
		}, []string{org2 + configFile}},
		"no identity": {func(t *testing.T, d *directory) {
			mustReplace(t, d, prefix+OrdererMSP+"/"+ordererFile, "")
		}, []string{prefix + OrdererMSP + "/" + ordererFile}},
		"other files": {func(t *testing.T, d *directory) {
			mustReplace(t, d, "stray", "")
			mustReplace(t, d, org1+"stray", "")
			mustReplace(t, d, org1+"users/stray", string(mustLoad(t, d, org1+ada)))
			mustReplace(t, d, prefix+"no name/x", "")
		}, []string{org1 + "stray: it is not", org1 + "users/stray: it is the certificate", prefix + "no name: it is not", ": stray: it is not"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := &directory{fillOrganizations(t)}
			c.damage(t, d)
			err := Verify(d.root)
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("got %v, want ErrDamaged", err)
			}
			problems := strings.Split(err.Error(), "\n")
			if len(problems) != len(c.want) {
				t.Fatalf("got %d problems, want %d:\n%v", len(problems), len(c.want), err)
			}
			for i, want := range c.want {
				if !strings.Contains(problems[i], want) {
					t.Errorf("problem %d: got %s, want %s", i, problems[i], want)
				}
			}
		})
	}
}

func mustLoad(t *testing.T, d *directory, name string) []byte {
	t.Helper()
	content, err := d.load(name)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func mustReplace(t *testing.T, d *directory, name, content string) {
	t.Helper()
	if err := d.replace(name, []byte(content)); err != nil {
		t.Fatal(err)
	}
}
