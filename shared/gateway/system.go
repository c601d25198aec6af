package gateway

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer/lifecycle"
	"google.golang.org/protobuf/proto"

	"peerless/shared/channelconfig"
	"peerless/shared/ledger"
	"peerless/shared/wire"
)

// The chaincodes that a Fabric peer has built in, as far as clients and explorers ask them: qscc reads blocks and transactions,
// cscc channels and their configuration, _lifecycle definitions. They are evaluated; each checks for itself who asks.
const (
	queryChaincode         = "qscc"
	configurationChaincode = "cscc"
)

func isSystem(chaincode string) bool {
	return chaincode == queryChaincode || chaincode == configurationChaincode || chaincode == ledger.LifecycleNamespace
}

// query runs a system chaincode's function. Its failures are responses, as every chaincode's.
func (s *Service) query(ctx context.Context, channel string, view ledger.View, p *wire.Proposal) *simulation {
	sim := &simulation{version: lifecycleVersion, height: view.Savepoint()}
	answer, err := s.systemAnswer(ctx, channel, view, p)
	if err != nil {
		sim.response = &peer.Response{Status: 500, Message: err.Error()}
		return sim
	}
	payload, err := proto.Marshal(answer)
	if err != nil {
		sim.response = &peer.Response{Status: 500, Message: err.Error()}
		return sim
	}
	sim.response = &peer.Response{Status: 200, Payload: payload}
	return sim
}

func (s *Service) systemAnswer(ctx context.Context, channel string, view ledger.View, p *wire.Proposal) (proto.Message, error) {
	args := p.Input.GetArgs()
	if len(args) == 0 {
		return nil, errors.New("Incorrect number of arguments, 0") //lint:ignore ST1005 Fabric's text
	}
	switch p.Chaincode {
	case queryChaincode:
		return s.readLedger(ctx, p, string(args[0]), args[1:])
	case configurationChaincode:
		return s.readConfiguration(ctx, p, string(args[0]), args[1:])
	}
	return s.readDefinitions(ctx, channel, view, p, string(args[0]), args[1:])
}

// readableBy returns a channel that a proposal's creator may read.
func (s *Service) readableBy(ctx context.Context, p *wire.Proposal, function, name string) (*ledger.Channel, error) {
	channel, err := s.Ledger.Channel(ctx, name)
	if errors.Is(err, ledger.ErrNotFound) {
		return nil, fmt.Errorf("Invalid chain ID, %s", name) //lint:ignore ST1005 Fabric's text
	}
	if err != nil {
		return nil, err
	}
	if err := allowed(channel, channelconfig.PathReaders, p.Creator); err != nil {
		return nil, fmt.Errorf("access denied for [%s][%s]: [%w]", function, name, err)
	}
	return channel, nil
}

// readLedger is qscc: Fabric's core/scc/qscc.
func (s *Service) readLedger(ctx context.Context, p *wire.Proposal, function string, args [][]byte) (proto.Message, error) {
	if len(args) == 0 {
		return nil, errors.New("Incorrect number of arguments, 1") //lint:ignore ST1005 Fabric's text
	}
	channel, err := s.readableBy(ctx, p, function, string(args[0]))
	if err != nil {
		return nil, err
	}
	if function == "GetChainInfo" {
		return chainInfo(ctx, channel)
	}
	if len(args) < 2 {
		return nil, fmt.Errorf("missing 3rd argument for %s", function)
	}
	switch function {
	case "GetBlockByNumber":
		number, err := strconv.ParseUint(string(args[1]), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("Failed to parse block number with error %w", err) //lint:ignore ST1005 Fabric's text
		}
		block, err := channel.Block(ctx, number)
		if err != nil {
			return nil, fmt.Errorf("Failed to get block number %d, error %w", number, err) //lint:ignore ST1005 Fabric's text
		}
		return block, nil
	case "GetBlockByHash":
		number, err := channel.BlockByHash(ctx, args[1])
		if err == nil {
			var block *common.Block
			if block, err = channel.Block(ctx, number); err == nil {
				return block, nil
			}
		}
		//lint:ignore ST1005 Fabric's text
		return nil, fmt.Errorf("Failed to get block hash %s, error %w", hex.EncodeToString(args[1]), err)
	case "GetBlockByTxID":
		entry, err := channel.Entry(ctx, string(args[1]))
		if err == nil {
			var block *common.Block
			if block, err = channel.Block(ctx, entry.Version.Block); err == nil {
				return block, nil
			}
		}
		//lint:ignore ST1005 Fabric's text
		return nil, fmt.Errorf("Failed to get block for txID %s, error %w", args[1], err)
	case "GetTransactionByID":
		record, err := channel.Transaction(ctx, string(args[1]))
		if err != nil {
			return nil, fmt.Errorf("Failed to get transaction with id %s, error %w", args[1], err) //lint:ignore ST1005 Fabric's text
		}
		envelope := &common.Envelope{}
		if err := proto.Unmarshal(record.Envelope, envelope); err != nil {
			return nil, err
		}
		return &peer.ProcessedTransaction{TransactionEnvelope: envelope, ValidationCode: int32(record.Code)}, nil
	}
	return nil, fmt.Errorf("Requested function %s not found.", function) //lint:ignore ST1005 Fabric's text
}

func chainInfo(ctx context.Context, channel *ledger.Channel) (proto.Message, error) {
	height, err := channel.Height(ctx)
	if err != nil {
		return nil, err
	}
	last, err := channel.Block(ctx, height-1)
	if err != nil {
		return nil, err
	}
	return &common.BlockchainInfo{Height: height, CurrentBlockHash: wire.HeaderHash(last.Header), PreviousBlockHash: last.Header.PreviousHash}, nil
}

// readConfiguration is cscc: Fabric's core/scc/cscc. Channels are not joined by proposals here.
func (s *Service) readConfiguration(ctx context.Context, p *wire.Proposal, function string, args [][]byte) (proto.Message, error) {
	switch function {
	case "GetChannels":
		return s.channelsOf(ctx, p)
	case "GetConfigBlock", "GetChannelConfig":
		if len(args) == 0 {
			return nil, errors.New("Incorrect number of arguments, 1") //lint:ignore ST1005 Fabric's text
		}
		channel, err := s.readableBy(ctx, p, function, string(args[0]))
		if err != nil {
			return nil, err
		}
		block, err := channel.ConfigBlock(ctx)
		if err != nil || function == "GetConfigBlock" {
			return block, err
		}
		envelope := &common.ConfigEnvelope{}
		tx, _ := wire.ParseEnvelope(block.Data.Data[0])
		if tx == nil || proto.Unmarshal(tx.Data, envelope) != nil {
			return nil, fmt.Errorf("the configuration of channel %s cannot be read", args[0])
		}
		return envelope.GetConfig(), nil
	case "JoinChain", "JoinChainBySnapshot":
		return nil, fmt.Errorf("access denied for [%s]: channels are made over HTTP or with peerless apply", function)
	}
	return nil, fmt.Errorf("Requested function %s not found.", function) //lint:ignore ST1005 Fabric's text
}

// channelsOf returns the channels that a proposal's creator may read.
func (s *Service) channelsOf(ctx context.Context, p *wire.Proposal) (proto.Message, error) {
	names, err := s.Ledger.Channels(ctx)
	if err != nil {
		return nil, err
	}
	answer := &peer.ChannelQueryResponse{}
	for _, name := range names {
		channel, err := s.Ledger.Channel(ctx, name)
		if err != nil {
			return nil, err
		}
		if allowed(channel, channelconfig.PathReaders, p.Creator) == nil {
			answer.Channels = append(answer.Channels, &peer.ChannelInfo{ChannelId: name})
		}
	}
	return answer, nil
}

// readDefinitions is the reading part of Fabric's _lifecycle: core/chaincode/lifecycle/scc.go.
func (s *Service) readDefinitions(ctx context.Context, name string, view ledger.View, p *wire.Proposal, function string, args [][]byte) (proto.Message, error) {
	channel, err := s.readableBy(ctx, p, function, name)
	if err != nil {
		return nil, err
	}
	if len(args) != 1 {
		return nil, fmt.Errorf("failed to invoke backing implementation of '%s': it takes one argument", function)
	}
	fail := func(err error) (proto.Message, error) {
		return nil, fmt.Errorf("failed to invoke backing implementation of '%s': %w", function, err)
	}
	switch function {
	case "QueryChaincodeDefinition":
		var query lifecycle.QueryChaincodeDefinitionArgs
		if err := proto.Unmarshal(args[0], &query); err != nil {
			return fail(err)
		}
		d, err := ledger.ReadDefinition(ctx, view, query.GetName())
		if err == nil && d == nil {
			err = fmt.Errorf("namespace %s is not defined", query.GetName())
		}
		if err != nil {
			return fail(err)
		}
		approvals, err := approvalsOf(ctx, channel, view, d)
		if err != nil {
			return fail(err)
		}
		policy, err := proto.Marshal(d.Policy)
		if err != nil {
			return fail(err)
		}
		return &lifecycle.QueryChaincodeDefinitionResult{
			Sequence: d.Sequence, Version: d.Version, EndorsementPlugin: "escc", ValidationPlugin: "vscc", ValidationParameter: policy,
			Collections: d.Collections, InitRequired: d.InitRequired, Approvals: approvals,
		}, nil
	case "QueryChaincodeDefinitions":
		all, err := ledger.ReadDefinitions(ctx, view)
		if err != nil {
			return fail(err)
		}
		answer := &lifecycle.QueryChaincodeDefinitionsResult{}
		for _, d := range all {
			policy, err := proto.Marshal(d.Policy)
			if err != nil {
				return fail(err)
			}
			answer.ChaincodeDefinitions = append(answer.ChaincodeDefinitions, &lifecycle.QueryChaincodeDefinitionsResult_ChaincodeDefinition{
				Name: d.Name, Sequence: d.Sequence, Version: d.Version, EndorsementPlugin: "escc", ValidationPlugin: "vscc",
				ValidationParameter: policy, Collections: d.Collections, InitRequired: d.InitRequired,
			})
		}
		return answer, nil
	case "CheckCommitReadiness":
		var query lifecycle.CheckCommitReadinessArgs
		if err := proto.Unmarshal(args[0], &query); err != nil {
			return fail(err)
		}
		d, err := readinessOf(&query)
		if err != nil {
			return fail(err)
		}
		current, err := ledger.ReadDefinition(ctx, view, d.Name)
		if err != nil {
			return fail(err)
		}
		if next := current.GetSequence() + 1; d.Sequence != next {
			return fail(fmt.Errorf("requested sequence is %d, but new definition must be sequence %d", d.Sequence, next))
		}
		approvals, err := approvalsOf(ctx, channel, view, d)
		if err != nil {
			return fail(err)
		}
		return &lifecycle.CheckCommitReadinessResult{Approvals: approvals}, nil
	}
	return nil, fmt.Errorf("Requested function %s not found.", function) //lint:ignore ST1005 Fabric's text
}

// readinessOf is the definition that a client asks about.
func readinessOf(query *lifecycle.CheckCommitReadinessArgs) (*ledger.Definition, error) {
	d := &ledger.Definition{
		Name: query.GetName(), Version: query.GetVersion(), Sequence: query.GetSequence(), InitRequired: query.GetInitRequired(),
		Policy: &peer.ApplicationPolicy{}, Collections: query.GetCollections(),
	}
	if len(query.GetValidationParameter()) == 0 {
		var err error
		d.Policy, err = applicationPolicy("")
		return d, err
	}
	return d, proto.Unmarshal(query.GetValidationParameter(), d.Policy)
}

// approvalsOf says which organisations of the channel approved a definition.
func approvalsOf(ctx context.Context, channel *ledger.Channel, view ledger.View, d *ledger.Definition) (map[string]bool, error) {
	approvals := make(map[string]bool)
	for _, o := range channel.Config().Organizations {
		approved, err := ledger.Approved(ctx, view, o.MSPID, d)
		if err != nil {
			return nil, err
		}
		approvals[o.MSPID] = approved
	}
	return approvals, nil
}
