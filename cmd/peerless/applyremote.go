package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"google.golang.org/protobuf/proto"

	"peerless/shared/api/client"
	"peerless/shared/manifest"
	"peerless/shared/organization"
)

// remoteTarget applies a manifest to a server.
type remoteTarget struct {
	*app
	*client.Client
}

var _ manifest.Target = remoteTarget{}

func (t remoteTarget) Known(ctx context.Context, mspID string) (bool, error) {
	_, err := t.Organization(ctx, mspID)
	var problem *client.Problem
	if errors.As(err, &problem) && problem.Status == http.StatusNotFound {
		return false, nil
	}
	return err == nil, err
}

func (t remoteTarget) PutOrganization(ctx context.Context, mspID string, brought organization.Member) (manifest.Change, error) {
	var in client.NewOrganization
	if brought.Config != nil {
		var err error
		if in.MSP, err = proto.Marshal(brought.Config); err != nil {
			return manifest.Change{}, err
		}
	}
	if pair := brought.Endorser; pair != nil {
		in.Endorser = &client.Endorser{Certificate: string(pair.Certificate), Key: string(pair.Key)}
	}
	if r := brought.Remote; r != nil {
		in.Endorser = &client.Endorser{
			Certificate: string(r.Certificate), Address: r.Address, RootCert: string(r.RootCert), ClientCert: string(r.ClientCert), ClientKey: string(r.ClientKey),
		}
	}
	put, err := t.Client.PutOrganization(ctx, mspID, in)
	return changeOf(manifest.Change{Kind: "organization", Name: mspID}, put, err)
}

func (t remoteTarget) PutChannel(ctx context.Context, name string, organizations []string) (manifest.Change, error) {
	put, err := t.Client.PutChannel(ctx, name, organizations)
	return changeOf(manifest.Change{Kind: "channel", Name: name}, put, err)
}

// PutChaincode sends the packages that the server does not have first.
func (t remoteTarget) PutChaincode(ctx context.Context, channel string, d *manifest.Deployment) (manifest.Change, error) {
	installed, err := t.Packages(ctx)
	if err != nil {
		return manifest.Change{}, err
	}
	spec := client.ChaincodeSpec{Version: d.Version, Policy: d.Policy, Collections: d.Collections, InitRequired: d.InitRequired, Sources: map[string]client.ChaincodeSource{}}
	for mspID, a := range d.Artifacts {
		if a.PackageID != "" && !slices.Contains(installed, a.PackageID) {
			body, done := t.progress(bytes.NewReader(a.Package), int64(len(a.Package)), "uploading")
			_, err := t.Install(ctx, body)
			done()
			if err != nil {
				return manifest.Change{}, fmt.Errorf("install %s: %w", a.PackageID, err)
			}
			installed = append(installed, a.PackageID)
		}
		source := client.ChaincodeSource{PackageID: a.PackageID, Address: a.Service.Address,
			RootCert: a.Service.RootCert, ClientCert: a.Service.ClientCert, ClientKey: a.Service.ClientKey}
		if mspID == "" {
			spec.Source = source
		} else {
			spec.Sources[mspID] = source
		}
	}
	put, err := t.Client.PutChaincode(ctx, channel, d.Name, spec)
	return changeOf(manifest.Change{Kind: "chaincode", Name: d.Name, Channel: channel}, put, err)
}

func changeOf(change manifest.Change, put *client.PutResult, err error) (manifest.Change, error) {
	if err != nil {
		return change, err
	}
	change.Action, change.Detail = put.Action, put.Detail
	return change, nil
}
