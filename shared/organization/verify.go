package organization

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"peerless/shared/docstore"
	"peerless/shared/msp"
	"peerless/shared/secret"
)

// Verify checks all identities in a directory of documents: that every key opens, and is its certificate's if it has one; that every
// certificate is one of its organisation's; and that every user's lies where that user is looked for. It makes and changes nothing.
// It returns all that does not hold, joined, each ErrDamaged or secret.ErrOtherKey; other errors are those of reading. What the
// directory itself notices (Dir.Verify) is left to it. No process may make organisations meanwhile.
func Verify(ctx context.Context, documents *docstore.Dir, sealer secret.Sealer) error {
	v := &verifier{ctx: ctx, registry: &Registry{Config: Config{Store: documents, Sealer: sealer}}, members: map[string]*msp.MSP{}}
	for kind, check := range map[string]func(docstore.Document) error{KindOrganization: v.organization, KindUser: v.user, KindDataKey: v.dataKey} {
		ids, err := documents.IDs(kind)
		if err != nil && !errors.Is(err, docstore.ErrDamaged) {
			return fmt.Errorf("verify organisations: %w", err)
		}
		for _, id := range ids {
			doc, err := documents.Get(ctx, kind, id)
			if errors.Is(err, docstore.ErrDamaged) {
				continue
			}
			if err == nil {
				err = check(doc)
			}
			v.add(err)
		}
	}
	return errors.Join(v.problems...)
}

// A verifier collects what does not hold.
type verifier struct {
	ctx      context.Context
	registry *Registry
	members  map[string]*msp.MSP // by MSP id; nil where the organisation itself is damaged
	problems []error
}

func (v *verifier) add(err error) {
	if err != nil {
		v.problems = append(v.problems, err)
	}
}

func (v *verifier) organization(doc docstore.Document) error {
	if err := checkMSPID(doc.ID); err != nil {
		return damaged(KindOrganization+" "+doc.ID, err)
	}
	o, err := v.registry.openOrganization(v.ctx, doc)
	if err != nil {
		return err
	}
	members, err := msp.New(o.config)
	if err != nil {
		return damaged(KindOrganization+" "+doc.ID, err)
	}
	if o.authority != nil && o.authority.KeyID == "" {
		ca, err := v.registry.openAuthority(v.ctx, doc.ID, o.authority)
		if err != nil {
			return err
		}
		if err := issuesFor(ca, members); err != nil {
			return damaged(purpose(KindOrganization, doc.ID, partAuthority), err)
		}
	}
	identities := map[string]*msp.Identity{}
	if o.endorser != nil {
		identities[partEndorser] = o.endorser.Identity
	}
	if o.orderer != nil {
		identities[partOrderer] = o.orderer.Identity
	}
	for part, identity := range identities {
		if _, err := members.Identify(identity.Serialized); err != nil {
			v.add(damaged(purpose(KindOrganization, doc.ID, part), err))
		}
	}
	return nil
}

func (v *verifier) dataKey(doc docstore.Document) error {
	_, err := v.registry.openDataKey(v.ctx, doc)
	return err
}

// membersOf returns what tells an organisation's members; nil if it is damaged, or is not there, which is damage if it has users.
func (v *verifier) membersOf(mspID string) *msp.MSP {
	if members, known := v.members[mspID]; known {
		return members
	}
	v.members[mspID] = nil
	doc, err := v.registry.Store.Get(v.ctx, KindOrganization, mspID)
	if errors.Is(err, docstore.ErrNotFound) {
		v.add(damaged(KindOrganization+" "+mspID, errors.New("it is missing")))
	}
	var rec record
	if err == nil && doc.Decode(&rec) == nil {
		if config, err := rec.config(mspID); err == nil {
			v.members[mspID], _ = msp.New(config)
		}
	}
	return v.members[mspID]
}

// user checks a user's identity, and that the certificate says what its document's name is a hash of.
func (v *verifier) user(doc docstore.Document) error {
	name := KindUser + " " + doc.ID
	mspID, hash, _ := strings.Cut(doc.ID, "/")
	var kept pair
	if err := doc.Decode(&kept); err != nil {
		return storeError(err)
	}
	signer, err := v.registry.open(v.ctx, mspID, &kept, purpose(KindUser, doc.ID, partKey))
	if err != nil {
		return err
	}
	if members := v.membersOf(mspID); members != nil {
		if _, err := members.Identify(signer.Serialized); err != nil {
			return damaged(name, err)
		}
	}
	subject := signer.Cert.Subject
	attributes, err := signer.Attributes()
	if err != nil {
		return damaged(name, err)
	}
	right, err := userHash(msp.IssueRequest{CommonName: subject.CommonName, Role: strings.Join(subject.OrganizationalUnit, ","), Attributes: attributes})
	if err != nil || right != hash {
		return damaged(name, fmt.Errorf("it is the certificate of another user, %q", subject.CommonName))
	}
	return nil
}
