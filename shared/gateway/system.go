package gateway

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"peerless/shared/channelconfig"
	"peerless/shared/ledger"
	"peerless/shared/wire"
)

// The chaincodes that a Fabric peer has built in, as far as clients and explorers ask them: qscc reads blocks and transactions,
// cscc channels and their configuration, _lifecycle definitions, which it also writes (systemlifecycle.go). Each checks for itself who asks.
const (
	queryChaincode         = "qscc"
	configurationChaincode = "cscc"
)

// systemVersion is the version that Fabric's system chaincodes have.
const systemVersion = "syscc"

func isSystem(chaincode string) bool {
	return chaincode == queryChaincode || chaincode == configurationChaincode || chaincode == ledger.LifecycleNamespace
}

// query runs a function of a system chaincode that only reads. Its failures are responses, as every chaincode's.
func (s *Service) query(ctx context.Context, view ledger.View, p *wire.Proposal) *simulation {
	sim := &simulation{version: systemVersion, height: view.Savepoint()}
	answer, err := s.systemAnswer(ctx, p)
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

func (s *Service) systemAnswer(ctx context.Context, p *wire.Proposal) (proto.Message, error) {
	args := p.Input.GetArgs()
	if len(args) == 0 {
		return nil, errors.New("Incorrect number of arguments, 0") //lint:ignore ST1005 Fabric's text
	}
	if p.Chaincode == queryChaincode {
		return s.readLedger(ctx, p, string(args[0]), args[1:])
	}
	return s.readConfiguration(ctx, p, string(args[0]), args[1:])
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
