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

// loadOrganization reads an organisation, or makes it. ErrNotFound if there is none and none is to be made.
func (r *Registry) loadOrganization(mspID string, create bool) (*Organization, error) {
	ctx, cancel := r.context()
	defer cancel()
	doc, err := r.document(ctx, mspID)
	switch {
	case errors.Is(err, docstore.ErrNotFound) && create:
		doc, err = r.makeOrganization(ctx, mspID)
	case errors.Is(err, docstore.ErrNotFound):
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, storeError(err)
	}
	o, err := r.openOrganization(ctx, doc)
	if err == nil && o.incomplete() {
		if doc, err = r.complete(ctx, o); err == nil {
			o, err = r.openOrganization(ctx, doc)
		}
	}
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.knowLocked(mspID)
	r.mu.Unlock()
	return o, nil
}

// document returns what Open read, once, or reads it.
func (r *Registry) document(ctx context.Context, mspID string) (docstore.Document, error) {
	r.mu.Lock()
	doc, listed := r.listed[mspID]
	delete(r.listed, mspID)
	r.mu.Unlock()
	if listed {
		return doc, nil
	}
	return r.Store.Get(ctx, KindOrganization, mspID)
}

// makeOrganization makes an authority and what belongs to it. If another process was faster, its organisation is returned.
func (r *Registry) makeOrganization(ctx context.Context, mspID string) (docstore.Document, error) {
	ca, authority, err := r.newAuthority(ctx, mspID)
	if err != nil {
		return docstore.Document{}, err
	}
	rec := record{Authority: authority}
	if err := r.fill(ctx, mspID, ca, &rec); err != nil {
		return docstore.Document{}, err
	}
	return docstore.Create(ctx, r.Store, KindOrganization, mspID, rec)
}

// fill issues what an organisation's authority is to issue for it, and is not there.
func (r *Registry) fill(ctx context.Context, mspID string, ca *msp.CA, rec *record) (err error) {
	if mspID != OrdererMSP {
		if rec.Endorser == nil && rec.Remote == nil {
			request := msp.IssueRequest{CommonName: "endorser." + mspID, Role: msp.RolePeer}
			rec.Endorser, err = r.issue(ctx, ca, request, purpose(KindOrganization, mspID, partEndorser))
		}
		return err
	}
	if rec.Orderer == nil {
		request := msp.IssueRequest{CommonName: "orderer." + mspID, Role: msp.RoleOrderer}
		if rec.Orderer, err = r.issue(ctx, ca, request, purpose(KindOrganization, mspID, partOrderer)); err != nil {
			return err
		}
	}
	if rec.Checkpoint == nil {
		rec.Checkpoint, err = r.newCheckpointKey(ctx)
	}
	return err
}

// incomplete organisations have an authority that came after them.
func (o *Organization) incomplete() bool {
	return o.authority != nil && (o.mspID != OrdererMSP && o.endorser == nil || o.mspID == OrdererMSP && (o.orderer == nil || o.checkpoint == nil))
}

func (r *Registry) complete(ctx context.Context, o *Organization) (docstore.Document, error) {
	ca, err := r.openAuthority(ctx, o.mspID, o.authority)
	if err != nil {
		return docstore.Document{}, err
	}
	doc, err := docstore.Update(ctx, r.Store, KindOrganization, o.mspID, func(rec *record, _ bool) error {
		return r.fill(ctx, o.mspID, ca, rec)
	})
	return doc, storeError(err)
}

// openOrganization opens the keys that sign for an organisation. The authority's stays sealed until it is to issue.
func (r *Registry) openOrganization(ctx context.Context, doc docstore.Document) (*Organization, error) {
	var rec record
	if err := doc.Decode(&rec); err != nil {
		return nil, storeError(err)
	}
	o := &Organization{mspID: doc.ID, registry: r, authority: rec.Authority}
	var err error
	if o.config, err = rec.config(doc.ID); err != nil {
		return nil, err
	}
	if rec.Endorser != nil {
		signer, err := r.open(ctx, doc.ID, rec.Endorser, purpose(KindOrganization, doc.ID, partEndorser))
		if err != nil {
			return nil, err
		}
		o.endorser = &Endorser{Identity: signer.Identity, Signer: signer}
	}
	if rec.Remote != nil {
		if o.endorser, err = r.openRemote(ctx, doc.ID, rec.Remote); err != nil {
			return nil, err
		}
	}
	if rec.Orderer != nil {
		if o.orderer, err = r.open(ctx, doc.ID, rec.Orderer, purpose(KindOrganization, doc.ID, partOrderer)); err != nil {
			return nil, err
		}
	}
	if rec.Checkpoint != nil {
		o.checkpoint, err = r.openCheckpointKey(ctx, rec.Checkpoint)
	}
	return o, err
}

// config returns the configuration that a member brought, or that of the authority.
func (rec *record) config(mspID string) (*mspproto.MSPConfig, error) {
	name := KindOrganization + " " + mspID
	if rec.Config != nil {
		config := &mspproto.MSPConfig{}
		if err := proto.Unmarshal(rec.Config, config); err != nil {
			return nil, damaged(name, err)
		}
		if verifier, err := msp.New(config); err != nil || verifier.ID() != mspID {
			return nil, damaged(name, fmt.Errorf("it is not a configuration of %s", mspID))
		}
		return config, nil
	}
	if rec.Authority == nil {
		return nil, damaged(name, errors.New("it has neither a configuration nor an authority"))
	}
	config, err := msp.AuthorityConfig(mspID, []byte(rec.Authority.Certificate))
	if err != nil {
		return nil, damaged(name, err)
	}
	return config, nil
}
