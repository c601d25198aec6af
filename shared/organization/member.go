package organization

import (
	"context"
	"errors"
	"fmt"

	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"google.golang.org/protobuf/proto"

	"peerless/shared/docstore"
	"peerless/shared/msp"
)

// A KeyPair is a certificate and its private key, both in PEM.
type KeyPair struct{ Certificate, Key []byte }

// A Member is an organisation that brings what it has.
type Member struct {
	// Config of its MSP. Nil: that of Authority.
	Config *mspproto.MSPConfig
	// Authority issues the certificates of its users. Nil: they are issued elsewhere, and User and Admin return
	// ErrNoAuthority.
	Authority *KeyPair
	// Endorser signs endorsements for it. Nil: Authority issues one; without Authority there is none.
	Endorser *KeyPair
	// Remote endorses for it elsewhere, in place of Endorser.
	Remote *RemoteEndorser
}

// Add keeps an organisation that brings its own configuration, authority or endorser; they must fit together. Adding it
// again with the same configuration replaces the authority's key and the endorser, if they are given, and changes nothing
// else; with another configuration it returns ErrExists. Processes that know the organisation already go on with what they have.
func (r *Registry) Add(mspID string, member Member) (*Organization, error) {
	fail := func(err error) (*Organization, error) { return nil, fmt.Errorf("add organisation %q: %w", mspID, err) }
	config, err := checkMember(mspID, member)
	if err != nil {
		return fail(err)
	}
	ctx, cancel := r.context()
	defer cancel()
	if err := r.keepMember(ctx, mspID, config, member); err != nil {
		return fail(storeError(err))
	}
	r.mu.Lock()
	delete(r.listed, mspID)
	r.mu.Unlock()
	r.organizations.forget(mspID)
	o, err := r.loadOrganization(mspID, false) // past a load that began before
	if err != nil {
		return fail(err)
	}
	return o, nil
}

// checkMember returns the member's configuration.
func checkMember(mspID string, member Member) (*mspproto.MSPConfig, error) {
	if err := checkMSPID(mspID); err != nil {
		return nil, err
	}
	config := member.Config
	var ca *msp.CA
	if member.Authority != nil {
		var err error
		if ca, err = msp.LoadCA(mspID, member.Authority.Certificate, member.Authority.Key); err != nil {
			return nil, err
		}
		if config == nil {
			config = ca.Config()
		}
	}
	if config == nil {
		return nil, fmt.Errorf("%w: neither a configuration nor an authority is given", ErrNoAuthority)
	}
	verifier, err := msp.New(config)
	if err != nil {
		return nil, err
	}
	if verifier.ID() != mspID {
		return nil, fmt.Errorf("%w: the configuration is of %q", ErrName, verifier.ID())
	}
	if ca != nil {
		if err := issuesFor(ca, verifier); err != nil {
			return nil, fmt.Errorf("authority: %w", err)
		}
	}
	if member.Endorser != nil {
		if err := belongs(verifier, mspID, *member.Endorser); err != nil {
			return nil, fmt.Errorf("endorser: %w", err)
		}
	}
	if member.Remote != nil {
		if err := checkRemote(verifier, mspID, member.Remote); err != nil {
			return nil, fmt.Errorf("endorser: %w", err)
		}
	}
	return config, nil
}

// issuesFor tells whether an MSP takes what an authority issues for its own.
func issuesFor(authority *msp.CA, members *msp.MSP) error {
	certificate, key, err := authority.Issue(msp.IssueRequest{CommonName: "trial", Role: msp.RoleClient})
	if err != nil {
		return err
	}
	return belongs(members, members.ID(), KeyPair{certificate, key})
}

// belongs tells whether an MSP takes a key pair for one of its own.
func belongs(verifier *msp.MSP, mspID string, pair KeyPair) error {
	signer, err := msp.NewSigner(mspID, pair.Certificate, pair.Key)
	if err != nil {
		return err
	}
	_, err = verifier.Identify(signer.Serialized)
	return err
}

func (r *Registry) keepMember(ctx context.Context, mspID string, config *mspproto.MSPConfig, member Member) error {
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(config)
	if err != nil {
		return err
	}
	_, err = docstore.Update(ctx, r.Store, KindOrganization, mspID, func(rec *record, exists bool) error {
		if exists {
			if present, err := rec.config(mspID); err != nil || !proto.Equal(present, config) {
				return errors.Join(ErrExists, err)
			}
		} else {
			rec.Config = encoded
		}
		for part, brought := range map[string]struct {
			from *KeyPair
			to   **pair
		}{partAuthority: {member.Authority, &rec.Authority}, partEndorser: {member.Endorser, &rec.Endorser}} {
			if brought.from == nil {
				continue
			}
			var err error
			*brought.to, err = r.seal(ctx, brought.from.Certificate, brought.from.Key, purpose(KindOrganization, mspID, part))
			if err != nil {
				return err
			}
		}
		switch {
		case member.Remote != nil:
			rec.Endorser = nil
			var err error
			rec.Remote, err = r.sealRemote(ctx, mspID, member.Remote)
			return err
		case member.Endorser != nil:
			rec.Remote = nil
		}
		return nil
	})
	return err
}
