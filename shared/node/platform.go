package node

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"

	"peerless/shared/api"
	"peerless/shared/deploy"
	"peerless/shared/ledger"
	"peerless/shared/manifest"
	"peerless/shared/organization"
)

// platform is what the operator manages over HTTP: the same as a manifest is applied to.
type platform struct{ n *Node }

var _ api.Platform = platform{}

func (p platform) Organizations(context.Context) ([]string, error) {
	return p.n.Organizations.Organizations(), nil
}

func (p platform) Organization(_ context.Context, mspID string) (*api.Organization, error) {
	known, err := p.n.Organizations.Has(mspID)
	if err != nil {
		return nil, err
	}
	if !known {
		return nil, fmt.Errorf("organization %q: %w", mspID, ledger.ErrNotFound)
	}
	o, err := p.n.Organizations.Organization(mspID)
	if err != nil {
		return nil, err
	}
	view := &api.Organization{MSPID: mspID, Authority: o.Issues()}
	if view.MSP, err = proto.Marshal(o.MSPConfig()); err != nil {
		return nil, err
	}
	if endorser := o.Endorser(); endorser != nil {
		view.Endorser = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: endorser.Cert.Raw}))
	}
	return view, nil
}

func (p platform) PutOrganization(ctx context.Context, mspID string, brought organization.Member) (*api.Change, error) {
	return changed(p.n.PutOrganization(ctx, mspID, brought))
}

func (p platform) PutChannel(ctx context.Context, name string, organizations []string) (*api.Change, error) {
	for _, mspID := range organizations {
		known, err := p.n.Known(ctx, mspID)
		if err != nil {
			return nil, err
		}
		if !known {
			return nil, invalid(fmt.Errorf("organization %q does not exist: put it before its channel", mspID))
		}
	}
	return changed(p.n.PutChannel(ctx, name, organizations))
}

func (p platform) PutChaincode(ctx context.Context, channel, name string, spec api.ChaincodeSpec) (*api.Change, error) {
	if _, err := p.n.Gateway.Channel(ctx, channel); err != nil {
		return nil, err
	}
	d := &manifest.Deployment{Name: name, Version: spec.Version, Policy: spec.Policy, Collections: spec.Collections, InitRequired: spec.InitRequired,
		Artifacts: map[string]*manifest.Artifact{"": artifact(spec.Source)}}
	for mspID, source := range spec.Sources {
		d.Artifacts[mspID] = artifact(source)
	}
	return changed(p.n.PutChaincode(ctx, channel, d))
}

func artifact(s api.ChaincodeSource) *manifest.Artifact {
	return &manifest.Artifact{PackageID: s.PackageID, Service: deploy.Connection{
		Address: s.Address, TLSRequired: s.RootCert != "", ClientAuthRequired: s.ClientCert != "",
		RootCert: s.RootCert, ClientCert: s.ClientCert, ClientKey: s.ClientKey,
	}}
}

func (p platform) Packages(context.Context) ([]string, error) { return p.n.Chaincodes.Packages() }

func (p platform) Install(ctx context.Context, pkg io.Reader) (string, error) {
	raw, err := io.ReadAll(io.LimitReader(pkg, deploy.MaxPackage+1))
	if err != nil {
		return "", fmt.Errorf("read package: %w", err)
	}
	if deploy.IsFunction(raw) {
		return "", invalid(errors.New("send a Fabric package (.tar.gz): a function zip has no label"))
	}
	id, err := p.n.Chaincodes.Install(ctx, raw)
	if err != nil {
		return "", installError(err)
	}
	return id, nil
}

func changed(c manifest.Change, err error) (*api.Change, error) {
	if err != nil {
		return nil, err
	}
	return &api.Change{Action: c.Action, Detail: c.Detail}, nil
}
