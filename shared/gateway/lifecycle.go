package gateway

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"peerless/shared/channelconfig"
	"peerless/shared/ledger"
	"peerless/shared/policy"
	"peerless/shared/wire"
)

// Defined reports whether a channel defines a chaincode as d says, but for the sequence: policies that are written otherwise and
// mean the same are the same.
func (s *Service) Defined(ctx context.Context, channel string, d Definition) (bool, error) {
	application, err := ApplicationPolicy(d.Policy)
	if err != nil {
		return false, invalidArgument("", "policy of chaincode %s: %v", d.Name, err)
	}
	current, err := s.ledgerDefinition(ctx, channel, d.Name)
	if err != nil || current == nil {
		return false, err
	}
	d.Indexes = plainIndexes(d.Indexes)
	return same(current, d, application), nil
}

// same reports whether a definition is as d says with this policy.
func same(current *ledger.Definition, d Definition, application *peer.ApplicationPolicy) bool {
	return current.Version == d.Version && current.InitRequired == d.InitRequired && proto.Equal(current.Policy, application) && slices.Equal(current.Indexes, d.Indexes) &&
		sameCollections(current.Collections, d.Collections)
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

// ApplicationPolicy reads a policy as Definition has it.
func ApplicationPolicy(text string) (*peer.ApplicationPolicy, error) {
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
