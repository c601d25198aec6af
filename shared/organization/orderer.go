package organization

import (
	"errors"
	"fmt"

	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"google.golang.org/protobuf/proto"

	"peerless/shared/docstore"
	"peerless/shared/msp"
)

// ExtendOrderer makes the members of an MSP brought along members of the ordering organisation too, in channels that are made
// from now on: administrators of orderers that a network had. Blocks stay signed by the key that is kept here. It reports whether
// that changed anything; one MSP at a time is brought along, the last.
func (r *Registry) ExtendOrderer(config *mspproto.MSPConfig) (changed bool, err error) {
	fail := func(err error) (bool, error) { return false, fmt.Errorf("extend %s: %w", OrdererMSP, err) }
	o, err := r.Orderer()
	if err != nil {
		return fail(err)
	}
	if o.authority == nil {
		return fail(ErrNoAuthority)
	}
	own, err := msp.AuthorityConfig(OrdererMSP, []byte(o.authority.Certificate))
	if err != nil {
		return fail(err)
	}
	extended, err := join(own, config)
	if err != nil {
		return fail(err)
	}
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(extended)
	if err != nil {
		return fail(err)
	}
	if proto.Equal(o.config, extended) {
		return false, nil
	}
	ctx, cancel := r.context()
	defer cancel()
	if _, err := docstore.Update(ctx, r.Store, KindOrganization, OrdererMSP, func(rec *record, _ bool) error {
		rec.Config = encoded
		return nil
	}); err != nil {
		return fail(storeError(err))
	}
	r.organizations.forget(OrdererMSP)
	return true, nil
}

// join makes one MSP of two with the same id. Any of its authorities gives any role; the roles' names are own's.
func join(own, other *mspproto.MSPConfig) (*mspproto.MSPConfig, error) {
	var a, b mspproto.FabricMSPConfig
	if err := errors.Join(proto.Unmarshal(own.GetConfig(), &a), proto.Unmarshal(other.GetConfig(), &b)); err != nil {
		return nil, err
	}
	if a.GetName() != b.GetName() {
		return nil, fmt.Errorf("%w: the configuration is of %q", ErrName, b.GetName())
	}
	a.RootCerts = append(a.RootCerts, b.GetRootCerts()...)
	a.IntermediateCerts = append(a.IntermediateCerts, b.GetIntermediateCerts()...)
	a.Admins = append(a.Admins, b.GetAdmins()...)
	a.RevocationList = append(a.RevocationList, b.GetRevocationList()...)
	a.TlsRootCerts = append(a.TlsRootCerts, b.GetTlsRootCerts()...)
	a.TlsIntermediateCerts = append(a.TlsIntermediateCerts, b.GetTlsIntermediateCerts()...)
	for _, unit := range []*mspproto.FabricOUIdentifier{
		a.FabricNodeOus.ClientOuIdentifier, a.FabricNodeOus.PeerOuIdentifier, a.FabricNodeOus.AdminOuIdentifier, a.FabricNodeOus.OrdererOuIdentifier,
	} {
		unit.Certificate = nil
	}
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(&a)
	if err != nil {
		return nil, err
	}
	config := &mspproto.MSPConfig{Config: encoded}
	_, err = msp.New(config)
	return config, err
}
