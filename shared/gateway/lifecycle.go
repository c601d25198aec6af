package gateway

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"peerless/shared/channelconfig"
	"peerless/shared/collection"
	"peerless/shared/ledger"
	"peerless/shared/msp"
	"peerless/shared/organization"
	"peerless/shared/policy"
	"peerless/shared/wire"
)

// Define makes d the definition of a chaincode, as a transaction in the lifecycle namespace that every organisation of the
// channel endorses and creator signs. A zero sequence is the next one. The definition is returned as it now stands; defining what
// is defined already changes nothing.
func (s *Service) Define(ctx context.Context, channel string, creator *msp.Signer, d Definition) (Definition, error) {
	if err := errors.Join(wire.ChaincodeName.Check(d.Name), wire.ChaincodeVersion.Check(d.Version)); err != nil {
		return d, invalidArgument("", "%v", err)
	}
	application, err := applicationPolicy(d.Policy)
	if err != nil {
		return d, invalidArgument("", "policy of chaincode %s: %v", d.Name, err)
	}
	channelConfig, err := s.Channel(ctx, channel)
	if err != nil {
		return d, err
	}
	wanted := d.Sequence
	err = s.lifecycle(ctx, channel, creator, "CommitChaincodeDefinition", d.Name, func(current *ledger.Definition) (map[string][]byte, error) {
		next := int64(1)
		if current != nil {
			next = current.Sequence + 1
			if same(current, d, application) && (wanted == 0 || wanted == current.Sequence) {
				d.Sequence = current.Sequence
				return nil, nil
			}
		}
		if wanted != 0 && wanted != next {
			return nil, invalidArgument("", "the next sequence of chaincode %s is %d, not %d", d.Name, next, wanted)
		}
		if err := collection.Check(d.Collections, current.GetCollections(), channelConfig.Config()); err != nil {
			return nil, invalidArgument("", "chaincode %s: %v", d.Name, err)
		}
		if err := ledger.CheckIndexes(d.Indexes); err != nil {
			return nil, invalidArgument("", "chaincode %s: %v", d.Name, err)
		}
		d.Sequence = next
		writes, err := ledger.FormatDefinition(&ledger.Definition{Name: d.Name, Version: d.Version, Sequence: next, InitRequired: d.InitRequired, Policy: application,
			Collections: d.Collections, Indexes: d.Indexes})
		if err == nil && current != nil && len(current.Indexes) > 0 && len(d.Indexes) == 0 {
			writes[ledger.IndexesKey(d.Name)] = nil
		}
		return writes, err
	})
	return d, err
}

// Defined reports whether a channel defines a chaincode as d says, but for the sequence: policies that are written otherwise and
// mean the same are the same.
func (s *Service) Defined(ctx context.Context, channel string, d Definition) (bool, error) {
	application, err := applicationPolicy(d.Policy)
	if err != nil {
		return false, invalidArgument("", "policy of chaincode %s: %v", d.Name, err)
	}
	current, err := s.ledgerDefinition(ctx, channel, d.Name)
	if err != nil || current == nil {
		return false, err
	}
	return same(current, d, application), nil
}

// same reports whether a definition is as d says with this policy.
func same(current *ledger.Definition, d Definition, application *peer.ApplicationPolicy) bool {
	return current.Version == d.Version && current.InitRequired == d.InitRequired && proto.Equal(current.Policy, application) && slices.Equal(current.Indexes, d.Indexes) &&
		(proto.Equal(current.Collections, d.Collections) || len(current.Collections.GetConfig())+len(d.Collections.GetConfig()) == 0)
}

// Undefine removes a chaincode's definition. Its state stays.
func (s *Service) Undefine(ctx context.Context, channel string, creator *msp.Signer, name string) error {
	return s.lifecycle(ctx, channel, creator, "RemoveChaincodeDefinition", name, func(current *ledger.Definition) (map[string][]byte, error) {
		if current == nil {
			return nil, undefined(channel, name)
		}
		writes := make(map[string][]byte)
		for _, key := range ledger.DefinitionKeys(name) {
			writes[key] = nil
		}
		return writes, nil
	})
}

// lifecycleVersion is the version that Fabric's system chaincodes have.
const lifecycleVersion = "syscc"

// lifecycle commits a change of a chaincode's definition; no writes is no change. It is tried again if another change came first.
func (s *Service) lifecycle(ctx context.Context, channelName string, creator *msp.Signer, function, name string, change func(*ledger.Definition) (map[string][]byte, error)) error {
	channel, err := s.Channel(ctx, channelName)
	if err != nil {
		return err
	}
	// As an orderer would: an administrator of the ordering organisation may record a definition too. Members' endorsements
	// make it theirs.
	if err := allowed(channel, pathChannelWriters, creator.Serialized); err != nil {
		return &Error{Kind: Forbidden, Code: codes.PermissionDenied, Message: err.Error(), Cause: err}
	}
	endorsers, err := s.endorsers(channel, creator.MSPID, nil)
	if err != nil {
		return err
	}
	for attempt := 1; ; attempt++ {
		submission, err := s.lifecycleSubmission(ctx, channel, creator, endorsers, function, name, change)
		if submission == nil || err != nil {
			return err
		}
		verdict, err := channel.Submit(ctx, submission)
		if err != nil {
			e := storeError("submit", "definition of chaincode "+name, err)
			e.TransactionID = submission.Tx.TxID
			return e
		}
		switch {
		case verdict.Code == peer.TxValidationCode_VALID:
			return nil
		case verdict.Code != peer.TxValidationCode_MVCC_READ_CONFLICT || attempt == s.Attempts:
			return invalid(submission.Tx.TxID, verdict.Code, attempt)
		}
	}
}

func (s *Service) lifecycleSubmission(ctx context.Context, channel *ledger.Channel, creator *msp.Signer, endorsers []*organization.Endorser, function, name string, change func(*ledger.Definition) (map[string][]byte, error)) (*ledger.Submission, error) {
	view, err := channel.View(ctx)
	if err != nil {
		return nil, storeError("", "channel "+channel.Name(), err)
	}
	defer view.Close()
	current, err := ledger.ReadDefinition(ctx, view, name)
	if err != nil {
		return nil, storeError("", "chaincode "+name, err)
	}
	writes, err := change(current)
	if err != nil || len(writes) == 0 {
		return nil, err
	}
	sequence, err := view.Get(ctx, ledger.LifecycleNamespace, []string{ledger.SequenceKey(name)})
	if err != nil {
		return nil, storeError("", "chaincode "+name, err)
	}
	read := &kvrwset.KVRead{Key: ledger.SequenceKey(name)}
	if sequence[0] != nil {
		read.Version = &kvrwset.Version{BlockNum: sequence[0].Version.Block, TxNum: sequence[0].Version.Tx}
	}
	kv := &kvrwset.KVRWSet{Reads: []*kvrwset.KVRead{read}}
	for _, key := range slices.Sorted(maps.Keys(writes)) {
		kv.Writes = append(kv.Writes, &kvrwset.KVWrite{Key: key, Value: writes[key], IsDelete: writes[key] == nil})
	}
	proposal, err := wire.NewProposal(wire.ProposalSpec{
		Channel: channel.Name(), Chaincode: ledger.LifecycleNamespace, Args: [][]byte{[]byte(function), []byte(name)},
		Creator: creator.Serialized, Nonce: randomNonce(), Timestamp: s.Clock(),
	})
	if err != nil {
		return nil, invalidArgument("", "%v", err)
	}
	sim := &simulation{
		response: &peer.Response{Status: 200},
		version:  lifecycleVersion,
		rwset:    &wire.RWSet{Namespaces: []wire.NamespaceSet{{Namespace: ledger.LifecycleNamespace, KV: kv}}},
	}
	if sim.results, err = sim.rwset.Marshal(); err != nil {
		return nil, invalidArgument("", "%v", err)
	}
	c := &call{Service: s, request: Request{User: creator}, channel: channel, proposal: proposal, endorsers: endorsers}
	return c.submission(sim, endorsers)
}

// Definitions returns the chaincodes of a channel, by name.
func (s *Service) Definitions(ctx context.Context, channelName string) ([]Definition, error) {
	channel, err := s.Channel(ctx, channelName)
	if err != nil {
		return nil, err
	}
	view, err := channel.View(ctx)
	if err != nil {
		return nil, storeError("", "channel "+channelName, err)
	}
	defer view.Close()
	found, err := ledger.ReadDefinitions(ctx, view)
	if err != nil {
		return nil, storeError("", "channel "+channelName, err)
	}
	definitions := make([]Definition, len(found))
	for i, d := range found {
		definitions[i] = definition(d)
	}
	return definitions, nil
}

// Definition returns a channel's chaincode, or an Error of kind NotFound.
func (s *Service) Definition(ctx context.Context, channelName, name string) (Definition, error) {
	d, err := s.ledgerDefinition(ctx, channelName, name)
	if err != nil {
		return Definition{}, err
	}
	if d == nil {
		return Definition{}, undefined(channelName, name)
	}
	return definition(d), nil
}

// ledgerDefinition returns a channel's chaincode, nil if there is none by the name.
func (s *Service) ledgerDefinition(ctx context.Context, channelName, name string) (*ledger.Definition, error) {
	channel, err := s.Channel(ctx, channelName)
	if err != nil {
		return nil, err
	}
	view, err := channel.View(ctx)
	if err != nil {
		return nil, storeError("", "channel "+channelName, err)
	}
	defer view.Close()
	d, err := s.definitions.get(ctx, channelName, view, name)
	if err != nil {
		return nil, storeError("", "chaincode "+name, err)
	}
	return d, nil
}

// undefined is the Error of a chaincode that a channel does not define.
func undefined(channel, name string) *Error {
	return &Error{Kind: NotFound, Code: codes.NotFound, Message: fmt.Sprintf("chaincode %q does not exist on channel %q", name, channel)}
}

func definition(d *ledger.Definition) Definition {
	shown := Definition{Name: d.Name, Version: d.Version, Sequence: d.Sequence, InitRequired: d.InitRequired, Collections: d.Collections, Indexes: d.Indexes}
	switch p := d.Policy.GetType().(type) {
	case *peer.ApplicationPolicy_SignaturePolicy:
		shown.Policy = policy.Format(p.SignaturePolicy)
	case *peer.ApplicationPolicy_ChannelConfigPolicyReference:
		if p.ChannelConfigPolicyReference != channelconfig.PathEndorsement {
			shown.Policy = p.ChannelConfigPolicyReference
		}
	}
	return shown
}

// applicationPolicy reads a policy as Definition has it.
func applicationPolicy(text string) (*peer.ApplicationPolicy, error) {
	switch {
	case text == "":
		text = channelconfig.PathEndorsement
		fallthrough
	case strings.HasPrefix(text, "/"):
		return &peer.ApplicationPolicy{Type: &peer.ApplicationPolicy_ChannelConfigPolicyReference{ChannelConfigPolicyReference: text}}, nil
	}
	envelope, err := policy.Parse(text)
	if err != nil {
		return nil, err
	}
	return &peer.ApplicationPolicy{Type: &peer.ApplicationPolicy_SignaturePolicy{SignaturePolicy: envelope}}, nil
}

// CreateChannel makes a channel of a genesis block; an Error of kind AlreadyExists if there is one by that name.
func (s *Service) CreateChannel(ctx context.Context, genesis *common.Block) error {
	config, err := channelconfig.Parse(genesis)
	if err != nil {
		return invalidArgument("", "genesis block: %v", err)
	}
	if err := wire.ChannelName.Check(config.Channel); err != nil {
		return invalidArgument("", "%v", err)
	}
	if err := s.Ledger.Create(ctx, genesis); err != nil {
		return storeError("", fmt.Sprintf("channel %q", config.Channel), err)
	}
	return nil
}

// History returns what transactions did to a key, newest first, at most limit changes older than before; the zero before means
// from the newest.
func (s *Service) History(ctx context.Context, channelName, chaincode, key string, before ledger.Version, limit int) ([]ledger.Change, error) {
	if _, err := s.Definition(ctx, channelName, chaincode); err != nil {
		return nil, err
	}
	channel, err := s.Channel(ctx, channelName)
	if err != nil {
		return nil, err
	}
	view, err := channel.View(ctx)
	if err != nil {
		return nil, storeError("", "channel "+channelName, err)
	}
	defer view.Close()
	changes, err := view.History(ctx, chaincode, key, before, limit)
	if err != nil {
		return nil, storeError("", "history", err)
	}
	return changes, nil
}
