package grpcapi_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer/lifecycle"
	"google.golang.org/protobuf/proto"
)

// ask evaluates a system chaincode's function and reads the answer.
func ask(t *testing.T, network *client.Network, chaincode, function string, into proto.Message, args ...[]byte) error {
	t.Helper()
	answer, err := network.GetContract(chaincode).Evaluate(function, client.WithBytesArguments(args...))
	if err != nil {
		return err
	}
	return proto.Unmarshal(answer, into)
}

// TestSystemChaincodes asks what explorers ask, with the Fabric Gateway's client.
func TestSystemChaincodes(t *testing.T) {
	t.Parallel()
	s := start(t)
	result, commit, err := s.network.GetContract("probe").SubmitAsync("run", client.WithArguments(`[{"op":"PutState","key":"k","value":"v"}]`))
	if err != nil {
		t.Fatalf("%s, %v", result, err)
	}
	outcome, err := commit.Status()
	if err != nil {
		t.Fatal(err)
	}
	trade := []byte("trade")
	var info common.BlockchainInfo
	if err := ask(t, s.network, "qscc", "GetChainInfo", &info, trade); err != nil || info.Height != outcome.BlockNumber+1 {
		t.Errorf("GetChainInfo: height %d, %v, want %d", info.Height, err, outcome.BlockNumber+1)
	}
	for function, argument := range map[string]string{
		"GetBlockByNumber": fmt.Sprint(outcome.BlockNumber), "GetBlockByHash": string(info.CurrentBlockHash), "GetBlockByTxID": outcome.TransactionID,
	} {
		var block common.Block
		if err := ask(t, s.network, "qscc", function, &block, trade, []byte(argument)); err != nil || block.GetHeader().GetNumber() != outcome.BlockNumber {
			t.Errorf("%s: block %d, %v, want %d", function, block.GetHeader().GetNumber(), err, outcome.BlockNumber)
		}
	}
	var processed peer.ProcessedTransaction
	if err := ask(t, s.network, "qscc", "GetTransactionByID", &processed, trade, []byte(outcome.TransactionID)); err != nil ||
		processed.ValidationCode != int32(peer.TxValidationCode_VALID) || len(processed.GetTransactionEnvelope().GetPayload()) == 0 {
		t.Errorf("GetTransactionByID: %v, %v", &processed, err)
	}
	var channels peer.ChannelQueryResponse
	if err := ask(t, s.network, "cscc", "GetChannels", &channels); err != nil || len(channels.Channels) != 1 || channels.Channels[0].ChannelId != "trade" {
		t.Errorf("GetChannels: %v, %v", &channels, err)
	}
	var block common.Block
	if err := ask(t, s.network, "cscc", "GetConfigBlock", &block, trade); err != nil || block.GetHeader().GetNumber() != 0 || len(block.GetData().GetData()) != 1 {
		t.Errorf("GetConfigBlock: block %d, %v", block.GetHeader().GetNumber(), err)
	}
	var config common.Config
	if err := ask(t, s.network, "cscc", "GetChannelConfig", &config, trade); err != nil || config.GetChannelGroup().GetGroups()["Application"] == nil {
		t.Errorf("GetChannelConfig: %v, %v", &config, err)
	}
	query, err := proto.Marshal(&lifecycle.QueryChaincodeDefinitionArgs{Name: "probe"})
	if err != nil {
		t.Fatal(err)
	}
	var definition lifecycle.QueryChaincodeDefinitionResult
	if err := ask(t, s.network, "_lifecycle", "QueryChaincodeDefinition", &definition, query); err != nil || definition.Sequence != 1 || definition.Version != "1" {
		t.Errorf("QueryChaincodeDefinition: %v, %v", &definition, err)
	}
	var definitions lifecycle.QueryChaincodeDefinitionsResult
	if err := ask(t, s.network, "_lifecycle", "QueryChaincodeDefinitions", &definitions, nil); err != nil || len(definitions.ChaincodeDefinitions) != 2 {
		t.Errorf("QueryChaincodeDefinitions: %v, %v", &definitions, err)
	}
}

// TestSystemChaincodesRefuse: what is not there, or not to be done, is said as Fabric says it.
func TestSystemChaincodesRefuse(t *testing.T) {
	t.Parallel()
	s := start(t)
	if err := s.node.CreateChannel(t.Context(), "others", []string{"Org1MSP"}); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		chaincode, function string
		args                []string
		want                string
	}{
		{"qscc", "GetChainInfo", []string{"nothing"}, "Invalid chain ID, nothing"},
		{"qscc", "GetChainInfo", []string{"others"}, "access denied for [GetChainInfo][others]"},
		{"qscc", "GetChainInfo", nil, "Incorrect number of arguments"},
		{"qscc", "GetBlockByNumber", []string{"trade", "many"}, "Failed to parse block number"},
		{"qscc", "GetBlockByNumber", []string{"trade", "99"}, "Failed to get block number 99"},
		{"qscc", "GetTransactionByID", []string{"trade", "x"}, "Failed to get transaction with id x"},
		{"qscc", "GetBlockByHash", []string{"trade", "x"}, "Failed to get block hash 78"},
		{"qscc", "Format", []string{"trade", "x"}, "Requested function Format not found."},
		{"cscc", "JoinChain", []string{"x"}, "access denied for [JoinChain]"},
		{"_lifecycle", "InstallChaincode", []string{"x"}, "Failed to authorize invocation due to failed ACL check"},
	} {
		var args [][]byte
		for _, arg := range test.args {
			args = append(args, []byte(arg))
		}
		err := ask(t, s.network, test.chaincode, test.function, &common.Block{}, args...)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s %s %v: %v, want %q", test.chaincode, test.function, test.args, err, test.want)
		}
	}
	if _, err := s.network.GetContract("qscc").SubmitTransaction("GetChainInfo", "trade"); err == nil {
		t.Error("a query was submitted")
	}
}
