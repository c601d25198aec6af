package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer/lifecycle"
	"google.golang.org/protobuf/proto"

	"peerless/shared/channelconfig"
	"peerless/shared/collection"
	"peerless/shared/ledger"
	"peerless/shared/simulate"
	"peerless/shared/wire"
)

// definitionArgs is a definition as the messages of _lifecycle have it.
type definitionArgs interface {
	GetName() string
	GetVersion() string
	GetSequence() int64
	GetEndorsementPlugin() string
	GetValidationPlugin() string
	GetValidationParameter() []byte
	GetCollections() *peer.CollectionConfigPackage
	GetInitRequired() bool
}

// definitionIn reads a definition out of a message, with Fabric's defaults.
func definitionIn(in definitionArgs, channel *ledger.Channel) (*ledger.Definition, error) {
	if p := in.GetEndorsementPlugin(); p != "" && p != ledger.EndorsementPlugin {
		return nil, fmt.Errorf("there is no endorsement plugin '%s' here: leave it out, or name %s", p, ledger.EndorsementPlugin)
	}
	if p := in.GetValidationPlugin(); p != "" && p != ledger.ValidationPlugin {
		return nil, fmt.Errorf("there is no validation plugin '%s' here: leave it out, or name %s", p, ledger.ValidationPlugin)
	}
	d := &ledger.Definition{Name: in.GetName(), Version: in.GetVersion(), Sequence: in.GetSequence(), InitRequired: in.GetInitRequired(), Collections: in.GetCollections()}
	if len(in.GetValidationParameter()) == 0 {
		d.Policy = &peer.ApplicationPolicy{Type: &peer.ApplicationPolicy_ChannelConfigPolicyReference{ChannelConfigPolicyReference: channelconfig.PathEndorsement}}
	} else {
		d.Policy = &peer.ApplicationPolicy{}
		if err := proto.Unmarshal(in.GetValidationParameter(), d.Policy); err != nil || d.Policy.Type == nil {
			return nil, errors.New("the validation parameter is not an application policy")
		}
	}
	return d, checkReference(d.Policy, channel)
}

// checkReference returns an error if a policy refers to one that the channel does not have.
func checkReference(p *peer.ApplicationPolicy, channel *ledger.Channel) error {
	if reference := p.GetChannelConfigPolicyReference(); reference != "" && !channel.Config().Has(reference) {
		return fmt.Errorf("policy '%s' must be defined for channel '%s' before chaincode operations can be attempted", reference, channel.Name())
	}
	return nil
}

func (c *lifecycleCall) approveForMyOrg(ctx context.Context, in *lifecycle.ApproveChaincodeDefinitionForMyOrgArgs) (proto.Message, error) {
	d, err := definitionIn(in, c.channel)
	if err != nil {
		return nil, err
	}
	if err := c.approve(ctx, d, in.GetSource().GetLocalPackage().GetPackageId()); err != nil {
		return nil, err
	}
	return &lifecycle.ApproveChaincodeDefinitionForMyOrgResult{}, nil
}

// approve records that the endorser's organisation agrees to a definition: the next one, or the present one if it did not.
func (c *lifecycleCall) approve(ctx context.Context, d *ledger.Definition, packageID string) error {
	current, err := c.check(ctx, d)
	if err != nil {
		return err
	}
	sequence, err := c.sequence(ctx, d.Name)
	switch {
	case err != nil:
		return err
	case d.Sequence == sequence && sequence == 0:
		return errors.New("requested sequence is 0, but first definable sequence number is 1")
	case d.Sequence < sequence:
		return fmt.Errorf("currently defined sequence %d is larger than requested sequence %d", sequence, d.Sequence)
	case d.Sequence > sequence+1:
		return fmt.Errorf("requested sequence %d is larger than the next available sequence number %d", d.Sequence, sequence+1)
	case d.Sequence == sequence && current == nil:
		return fmt.Errorf("missing metadata for currently committed sequence number (%d)", sequence)
	case d.Sequence == sequence:
		if err := different(current, d); err != nil {
			return fmt.Errorf("attempted to redefine the current committed sequence (%d) for namespace %s with different parameters: %w", sequence, d.Name, err)
		}
	}
	values, err := ledger.FormatApproval(d, packageID)
	if err != nil {
		return err
	}
	own := c.own()
	parameters, source := ledger.ApprovalKeys(d.Name, d.Sequence)
	same, err := own.holds(ctx, parameters, values)
	if err == nil && same {
		same, err = own.holds(ctx, source, values)
	}
	switch {
	case err != nil:
		return fmt.Errorf("could not fetch chaincode definition, chaincode %s#%d, requested at sequence %[2]d: %w", d.Name, d.Sequence, err)
	case same && d.Sequence == sequence:
		return fmt.Errorf("attempted to redefine the current committed sequence (%d) for namespace %s", sequence, d.Name)
	case same:
		return fmt.Errorf("attempted to redefine uncommitted sequence (%d) for namespace %s with unchanged content", d.Sequence, d.Name)
	}
	if err := own.serialize(ctx, parameters, values); err != nil {
		return fmt.Errorf("could not serialize chaincode parameters to state: %w", err)
	}
	if err := own.serialize(ctx, source, values); err != nil {
		return fmt.Errorf("could not serialize chaincode package info to state: %w", err)
	}
	return nil
}

// commitForMyOrg makes a definition the channel's, in so far as it depends on the endorser's organisation. A third argument, which
// Fabric does not have, is a JSON array of the index definitions that come with it.
func (c *lifecycleCall) commitForMyOrg(ctx context.Context, in *lifecycle.CommitChaincodeDefinitionArgs, indexes [][]byte) (proto.Message, error) {
	d, err := definitionIn(in, c.channel)
	if err != nil {
		return nil, err
	}
	if _, err := c.check(ctx, d); err != nil {
		return nil, err
	}
	approvals, _, err := c.readiness(ctx, d)
	if err != nil {
		return nil, err
	}
	if err := c.define(ctx, d, indexes); err != nil {
		return nil, err
	}
	if !approvals[c.mspID] {
		return nil, fmt.Errorf("chaincode definition not agreed to by this org (%s)", c.mspID)
	}
	return &lifecycle.CommitChaincodeDefinitionResult{}, nil
}

// define writes a definition, and its indexes if there are any words about them.
func (c *lifecycleCall) define(ctx context.Context, d *ledger.Definition, indexes [][]byte) error {
	values, err := ledger.FormatDefinition(d)
	if err != nil {
		return err
	}
	if err := c.public().serialize(ctx, ledger.FabricDefinitionKeys(d.Name)[0], values); err != nil {
		return fmt.Errorf("could not serialize chaincode definition: %w", err)
	}
	for _, encoded := range indexes {
		definitions, err := ledger.DecodeIndexes(encoded)
		if err != nil {
			return fmt.Errorf("chaincode %s: %w", d.Name, err)
		}
		if len(definitions) == 0 {
			encoded = nil
		}
		if err := c.tx.PutState(ledger.LifecycleNamespace, ledger.IndexesKey(d.Name), encoded); err != nil {
			return err
		}
	}
	return nil
}

// systemChaincodes are names that no chaincode may have.
var systemChaincodes = []string{"cscc", "escc", "lscc", "qscc", "vscc"}

// check looks for what is wrong with a definition, Fabric's validateInput, and returns the present one, nil if there is none.
func (c *lifecycleCall) check(ctx context.Context, d *ledger.Definition) (*ledger.Definition, error) {
	const what = "error validating chaincode definition"
	if err := checkNames(d.Name, d.Version); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	current, err := c.defined(ctx, d.Name)
	if err != nil {
		return nil, fmt.Errorf("%s: could not retrieve committed definition for chaincode '%s': %w", what, d.Name, err)
	}
	if current == nil { // then Fabric's peers look for one of the old lifecycle, of which there are none here
		if _, err := c.tx.GetState(ctx, "lscc", d.Name); err != nil {
			return nil, err
		}
	}
	if err := collection.Check(d.Collections, current.GetCollections(), c.channel.Config()); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return current, nil
}

func checkNames(name, version string) error {
	if slices.Contains(systemChaincodes, name) {
		return fmt.Errorf("chaincode name '%s' is the name of a system chaincode", name)
	}
	if wire.ChaincodeName.Check(name) != nil {
		return fmt.Errorf("invalid chaincode name '%.150s'. Names can only consist of alphanumerics, '_', and '-' and can only begin with alphanumerics", name)
	}
	if wire.ChaincodeVersion.Check(version) != nil {
		return fmt.Errorf("invalid chaincode version '%.150s'. Versions can only consist of alphanumerics, '_', '-', '+', and '.'", version)
	}
	return nil
}

// sequence returns the number of a chaincode's present definition, 0 if there was none yet.
func (c *lifecycleCall) sequence(ctx context.Context, name string) (int64, error) {
	value, err := c.tx.GetState(ctx, ledger.LifecycleNamespace, ledger.SequenceKey(name))
	if err == nil {
		var sequence int64
		if sequence, err = ledger.ParseSequence(value); err == nil {
			return sequence, nil
		}
	}
	return 0, fmt.Errorf("could not get current sequence: %w", err)
}

// defined returns a chaincode's definition, nil if there is none.
func (c *lifecycleCall) defined(ctx context.Context, name string) (*ledger.Definition, error) {
	keys := ledger.FabricDefinitionKeys(name)
	metadata, err := c.tx.GetState(ctx, ledger.LifecycleNamespace, keys[0])
	if err != nil || metadata == nil {
		return nil, err
	}
	values, err := c.tx.GetMultipleStates(ctx, ledger.LifecycleNamespace, keys[1:])
	if err != nil {
		return nil, err
	}
	return ledger.ParseDefinition(name, values)
}

// readiness says which organisations approved a definition that is to be the next, and where the others' approvals differ.
func (c *lifecycleCall) readiness(ctx context.Context, d *ledger.Definition) (approvals map[string]bool, mismatches map[string][]string, err error) {
	sequence, err := c.sequence(ctx, d.Name)
	if err != nil {
		return nil, nil, err
	}
	if d.Sequence != sequence+1 {
		return nil, nil, fmt.Errorf("requested sequence is %d, but new definition must be sequence %d", d.Sequence, sequence+1)
	}
	return c.agreed(ctx, d)
}

// agreed says which organisations approved a definition, and where the others' approvals differ.
func (c *lifecycleCall) agreed(ctx context.Context, d *ledger.Definition) (approvals map[string]bool, mismatches map[string][]string, err error) {
	approvals, mismatches = make(map[string]bool), make(map[string][]string)
	for _, o := range c.channel.Config().Organizations {
		fields, err := ledger.Disagreements(d, func(key string) ([]byte, error) {
			return c.tx.GetPrivateDataHash(ctx, ledger.LifecycleNamespace, ledger.ApprovalCollection(o.MSPID), key)
		})
		if err != nil {
			return nil, nil, err
		}
		approvals[o.MSPID] = len(fields) == 0
		if len(fields) > 0 {
			mismatches[o.MSPID] = fields
		}
	}
	return approvals, mismatches, nil
}

// different says, in Fabric's words, where a definition is not the present one; nil if it is.
func different(current, d *ledger.Definition) error {
	before, err := proto.Marshal(current.Policy)
	if err != nil {
		return err
	}
	now, err := proto.Marshal(d.Policy)
	if err != nil {
		return err
	}
	switch {
	case current.Version != d.Version:
		return fmt.Errorf("expected Version '%s' does not match passed Version '%s'", current.Version, d.Version)
	case current.InitRequired != d.InitRequired:
		return fmt.Errorf("expected InitRequired '%t' does not match passed InitRequired '%t'", current.InitRequired, d.InitRequired)
	case !bytes.Equal(before, now):
		return fmt.Errorf("expected ValidationParameter '%x' does not match passed ValidationParameter '%x'", before, now)
	case !sameCollections(current.Collections, d.Collections):
		//lint:ignore ST1005 Fabric's text
		return errors.New("Collections do not match")
	}
	return nil
}

func sameCollections(a, b *peer.CollectionConfigPackage) bool {
	return proto.Equal(a, b) || len(a.GetConfig())+len(b.GetConfig()) == 0
}

// A lifecycleState is where a structure is kept: a metadata entry that lists its fields, and an entry for each of them. Fabric's
// Serializer.
type lifecycleState struct {
	get func(ctx context.Context, key string) ([]byte, error)
	put func(key string, value []byte) error // no value deletes
}

// public is the state that all see.
func (c *lifecycleCall) public() lifecycleState {
	return lifecycleState{
		get: func(ctx context.Context, key string) ([]byte, error) {
			return c.tx.GetState(ctx, ledger.LifecycleNamespace, key)
		},
		put: func(key string, value []byte) error { return c.tx.PutState(ledger.LifecycleNamespace, key, value) },
	}
}

// own is the implicit collection of the endorser's organisation.
func (c *lifecycleCall) own() lifecycleState {
	mine := c.ownCollection()
	return lifecycleState{
		get: func(ctx context.Context, key string) ([]byte, error) {
			return c.tx.GetPrivateData(ctx, ledger.LifecycleNamespace, mine, key)
		},
		put: func(key string, value []byte) error {
			return c.tx.PutPrivateData(ledger.LifecycleNamespace, mine.Name, key, value)
		},
	}
}

func (c *lifecycleCall) ownCollection() simulate.Collection {
	mine := simulate.Collection{Name: ledger.ApprovalCollection(c.mspID)}
	if c.Ledger.Keys != nil {
		mine.Open = func(key string, sealed []byte) ([]byte, error) {
			return collection.Open(c.Ledger.Keys, c.mspID, ledger.PrivatePlace(c.channel.Name(), ledger.LifecycleNamespace, mine.Name, key), sealed)
		}
	}
	return mine
}

// fieldsOf is what the keys of a structure's fields begin with, given that of its metadata.
func fieldsOf(metadata string) string {
	return strings.Replace(metadata, "/metadata/", "/fields/", 1) + "/"
}

// holds reports whether a structure is kept as the values have it.
func (s lifecycleState) holds(ctx context.Context, metadata string, values map[string][]byte) (bool, error) {
	before, err := s.get(ctx, metadata)
	if err != nil || before == nil {
		return false, err
	}
	same := true
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if !strings.HasPrefix(key, fieldsOf(metadata)) {
			continue
		}
		value, err := s.get(ctx, key)
		if err != nil {
			return false, err
		}
		same = same && bytes.Equal(value, values[key])
	}
	return same, nil
}

// serialize writes those entries of a structure that change, and deletes those that it does not have any more.
func (s lifecycleState) serialize(ctx context.Context, metadata string, values map[string][]byte) error {
	before, err := s.get(ctx, metadata)
	if err != nil {
		return err
	}
	var listed lifecycle.StateMetadata
	if err := proto.Unmarshal(before, &listed); err != nil {
		return fmt.Errorf("could not unmarshal metadata %s: %w", metadata, err)
	}
	existing := make(map[string][]byte)
	for _, field := range listed.Fields {
		key := fieldsOf(metadata) + field
		if existing[key], err = s.get(ctx, key); err != nil {
			return err
		}
	}
	for key, value := range values {
		if !strings.HasPrefix(key, fieldsOf(metadata)) {
			continue
		}
		if !bytes.Equal(existing[key], value) {
			if err := s.put(key, value); err != nil {
				return err
			}
		}
		delete(existing, key)
	}
	if !bytes.Equal(before, values[metadata]) {
		if err := s.put(metadata, values[metadata]); err != nil {
			return err
		}
	}
	for key := range existing {
		if err := s.put(key, nil); err != nil {
			return err
		}
	}
	return nil
}
