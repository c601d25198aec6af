package organization

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"peerless/shared/msp"
)

// Verify checks everything that is kept in a directory: that every file is what was written, by its checksum; that every key
// is its certificate's; that every certificate is one of its organisation's; and that every user's lies where that user is
// looked for. It makes and changes nothing. It returns all that does not hold, joined, each ErrDamaged; other errors are those
// of reading. A directory that is not there holds. No process may make organisations meanwhile.
func Verify(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("verify organisations: %w", err)
	}
	v := &verifier{files: os.DirFS(dir), keep: &directory{dir}}
	for _, entry := range entries {
		id, ok := strings.CutPrefix(entry.Name(), prefix)
		switch {
		case entry.Name() == temporary: // what a killed process left there is no identity
		case ok && entry.IsDir() && checkMSPID(id) == nil:
			v.organization(id)
		default:
			v.unknown(entry.Name())
		}
	}
	return errors.Join(v.problems...)
}

// A verifier collects what does not hold.
type verifier struct {
	files    fs.FS
	keep     keep
	problems []error
}

func (v *verifier) add(err error) {
	if err != nil {
		v.problems = append(v.problems, err)
	}
}

func (v *verifier) unknown(name string) {
	v.add(damaged(name, errors.New("it is not the registry's")))
}

func damaged(name string, err error) error { return fmt.Errorf("%w: %s: %w", ErrDamaged, name, err) }

// organization checks the directory of one. It may be empty, if making it was interrupted.
func (v *verifier) organization(id string) {
	root := prefix + id
	members, err := v.members(id)
	made := !errors.Is(err, fs.ErrNotExist)
	if made {
		v.add(err)
	}
	v.add(fs.WalkDir(v.files, root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if !made {
			made = true
			v.add(damaged(path.Join(root, authorityFile), errors.New("it is missing")))
		}
		switch relative := strings.TrimPrefix(name, root+"/"); {
		case relative == configFile || relative == authorityFile: // members has
		case relative == endorserFile || relative == ordererFile:
			_, err = v.identity(id, name, members)
			v.add(err)
		case strings.HasPrefix(relative, "users/"):
			v.add(v.user(id, name, members))
		default:
			v.unknown(name)
		}
		return nil
	}))
}

// members checks an organisation's configuration and authority, and returns what verifies its members. fs.ErrNotExist if it
// has neither.
func (v *verifier) members(id string) (*msp.MSP, error) {
	o := &Organization{mspID: id, registry: &Registry{keep: v.keep}}
	if err := o.loadConfig(); err != nil {
		return nil, err
	}
	name := o.file(authorityFile)
	if o.config == nil {
		if _, err := v.keep.load(name); err != nil {
			return nil, err // loadAuthority would make one
		}
	}
	if err := o.loadAuthority(); err != nil {
		return nil, err
	}
	members, err := msp.New(o.config)
	if err == nil && o.authority != nil {
		err = issuesFor(o.authority, members)
	}
	if err != nil {
		return nil, damaged(name, err)
	}
	return members, nil
}

// issuesFor tells whether an MSP takes what an authority issues for its own.
func issuesFor(authority *msp.CA, members *msp.MSP) error {
	certificate, key, err := authority.Issue(msp.IssueRequest{CommonName: "trial", Role: msp.RoleClient})
	if err != nil {
		return err
	}
	return belongs(members, members.ID(), KeyPair{certificate, key})
}

// identity checks a certificate and its key. If members is nil, the organisation's own files being damaged, whether it is one
// of them remains open.
func (v *verifier) identity(id, name string, members *msp.MSP) (*msp.Signer, error) {
	encoded, err := v.keep.load(name)
	if err != nil {
		return nil, err
	}
	certificate, key := splitPEM(encoded)
	signer, err := msp.NewSigner(id, certificate, key)
	if err == nil && members != nil {
		_, err = members.Identify(signer.Serialized)
	}
	if err != nil {
		return nil, damaged(name, err)
	}
	return signer, nil
}

// user checks a user's identity, and that the certificate says what its file's name is a hash of.
func (v *verifier) user(id, name string, members *msp.MSP) error {
	signer, err := v.identity(id, name, members)
	if err != nil {
		return err
	}
	subject := signer.Cert.Subject
	attributes, err := signer.Attributes()
	if err != nil {
		return damaged(name, err)
	}
	file, err := userFile(msp.IssueRequest{CommonName: subject.CommonName, Role: strings.Join(subject.OrganizationalUnit, ","), Attributes: attributes})
	if err != nil || path.Join(prefix+id, file) != name {
		return damaged(name, fmt.Errorf("it is the certificate of another user, %q", subject.CommonName))
	}
	return nil
}
