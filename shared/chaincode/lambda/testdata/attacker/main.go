// Command attacker is a function whose tenant has thrown the adapter away: it has all that the gateway sends it, and does with it
// what the first argument of the proposal says.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"peerless/shared/invocation"
	"peerless/shared/wire"
)

func main() { lambda.Start(handle) }

// count is state that the function keeps.
var count int

func handle(ctx context.Context, payload json.RawMessage) (any, error) {
	request, err := invocation.ParseRequest(payload)
	if err != nil {
		return nil, err
	}
	response := invocation.Response{Version: request.Version}
	for i := range request.Proposals {
		response.Results = append(response.Results, answer(ctx, request, &request.Proposals[i]))
	}
	switch attack(&request.Proposals[0]) {
	case "another version":
		response.Version = 7
	case "no results":
		response.Results = nil
	case "more results":
		response.Results = append(response.Results, response.Results[0])
	case "a million results":
		return json.RawMessage(`{"version":2,"results":[{}` + strings.Repeat(",{}", 1_000_000) + "]}"), nil
	case "a million questions":
		return json.RawMessage(`{"version":2,"results":[{"calls":[{}` + strings.Repeat(",{}", 1_000_000) + "]}]}"), nil
	case "results of another kind":
		return json.RawMessage(`{"version":2,"results":7}`), nil
	}
	return response, nil
}

func attack(p *invocation.Proposal) string { return arguments(p)[0] }

func arguments(p *invocation.Proposal) []string {
	signed := &peer.SignedProposal{}
	if err := proto.Unmarshal(p.Signed, signed); err != nil {
		return []string{""}
	}
	proposal, _ := wire.ParseProposal(signed)
	var all []string
	for _, a := range proposal.Input.Args {
		all = append(all, string(a))
	}
	return all
}

// ask asks the platform for what the arguments say, pairs of a message's type and its payload, one after the other, and answers with
// what it was answered. With each question it sends the answer that it would like.
func ask(p *invocation.Proposal) invocation.Result {
	questions := arguments(p)[1:]
	if next := 2 * len(p.Calls); next < len(questions) {
		return invocation.Result{Calls: invocation.Calls{{Message: questions[next], Input: []byte(questions[next+1]), Response: []byte("forged")}}}
	}
	type answer struct{ Message, Response, Error string }
	var answers []answer
	for _, c := range p.Calls {
		answers = append(answers, answer{c.Message, string(c.Response), c.Error})
	}
	raw, _ := json.Marshal(answers)
	return invocation.Result{Response: success(raw)}
}

func answer(ctx context.Context, request *invocation.Request, p *invocation.Proposal) invocation.Result {
	result := invocation.Result{Response: success(nil)}
	set := func(ns string, kv *kvrwset.KVRWSet, more ...wire.NamespaceSet) {
		set := wire.RWSet{Namespaces: append([]wire.NamespaceSet{{Namespace: ns, KV: kv}}, more...)}
		result.Set, _ = set.Marshal()
	}
	write := &kvrwset.KVRWSet{Writes: []*kvrwset.KVWrite{{Key: "k", Value: []byte("forged")}}}
	switch attack(p) {
	case "ask":
		return ask(p)
	case "asks without end":
		question, _ := proto.Marshal(&peer.GetState{Collection: "c", Key: fmt.Sprint(len(p.Calls))})
		return invocation.Result{Calls: invocation.Calls{{Message: "GET_STATE", Input: question}}}
	case "asks, and is done":
		question, _ := proto.Marshal(&peer.GetState{Collection: "c", Key: "k"})
		result.Calls = invocation.Calls{{Message: "GET_STATE", Input: question}}
	case "steal":
		result.Response = success(steal(ctx, request))
	case "write for another":
		set("victim", write)
	case "write for the lifecycle":
		set("_lifecycle", write)
	case "write for itself and another":
		set("mine", write, wire.NamespaceSet{Namespace: "victim", KV: write})
	case "write itself twice":
		set("mine", write, wire.NamespaceSet{Namespace: "mine", KV: write})
	case "write hashes of private data":
		set("mine", write, wire.NamespaceSet{})
		forged := wire.RWSet{Namespaces: []wire.NamespaceSet{{Namespace: "mine", KV: write, Collections: []wire.CollectionSet{{Name: "c", Hashed: &kvrwset.HashedRWSet{}}}}}}
		result.Set, _ = forged.Marshal()
	case "write out of order":
		set("mine", &kvrwset.KVRWSet{Writes: []*kvrwset.KVWrite{{Key: "b", Value: []byte("x")}, {Key: "a", Value: []byte("x")}}})
	case "a million reads":
		kv, _ := proto.Marshal(&kvrwset.KVRWSet{Reads: slices.Repeat([]*kvrwset.KVRead{{}}, 1_000_000)})
		result.Set, _ = proto.Marshal(&rwset.TxReadWriteSet{NsRwset: []*rwset.NsReadWriteSet{{Namespace: "mine", Rwset: kv}}})
	case "a million rows":
		rows := &kvrwset.QueryReads{KvReads: slices.Repeat([]*kvrwset.KVRead{{}}, 1_000_000)}
		set("mine", &kvrwset.KVRWSet{RangeQueriesInfo: []*kvrwset.RangeQueryInfo{{ReadsInfo: &kvrwset.RangeQueryInfo_RawReads{RawReads: rows}}}})
	case "noise for a set":
		result.Set = bytes.Repeat([]byte{0xff}, 100)
	case "noise for a response":
		result.Response = bytes.Repeat([]byte{0xff}, 100)
	case "an event without a name":
		result.Event, _ = proto.Marshal(&peer.ChaincodeEvent{ChaincodeId: "mine", Payload: []byte("x")})
	case "an event of another":
		result.Event, _ = proto.Marshal(&peer.ChaincodeEvent{ChaincodeId: "victim", TxId: "another", EventName: "paid", Payload: []byte("x")})
	case "the result of another transaction":
		result.TxID = "another"
	case "an answered call":
		if len(p.Calls) == 0 {
			input, _ := proto.Marshal(&peer.ChaincodeInput{Args: [][]byte{[]byte("pay")}})
			return invocation.Result{Call: &invocation.Call{Chaincode: "victim", Input: input, Response: success([]byte("forged"))}}
		}
		result.Response = p.Calls[0].Response
	case "calls without end":
		input, _ := proto.Marshal(&peer.ChaincodeInput{Args: [][]byte{[]byte("pay")}})
		return invocation.Result{Call: &invocation.Call{Chaincode: "victim", Input: input}}
	case "7 MB":
		result.Response = bytes.Repeat([]byte("x"), 7<<20*3/4)
	case "hang":
		time.Sleep(time.Hour)
	case "exit":
		os.Exit(1)
	case "flood":
		line := append(bytes.Repeat([]byte("x"), 1<<16), '\n')
		for range 512 { // 64 MB
			os.Stdout.Write(line)
			os.Stderr.Write(line)
		}
	case "count":
		count++
		result.Response = success(fmt.Append(nil, count))
	case "environment":
		environment, _ := json.Marshal(os.Environ())
		result.Response = success(environment)
	}
	return result
}

func success(payload []byte) []byte {
	raw, _ := proto.Marshal(&peer.Response{Status: 200, Payload: payload})
	return raw
}

// steal tries the credentials of the invocation, and those of the function's own role, on what they should not reach. It returns what
// it got, by name, in JSON.
func steal(ctx context.Context, request *invocation.Request) []byte {
	got := map[string]bool{}
	for name, c := range map[string]invocation.Credentials{
		"": request.State.Credentials,
		"own role: ": {
			AccessKeyID: os.Getenv("AWS_ACCESS_KEY_ID"), SecretAccessKey: os.Getenv("AWS_SECRET_ACCESS_KEY"), SessionToken: os.Getenv("AWS_SESSION_TOKEN"),
		},
	} {
		client := dynamodb.New(dynamodb.Options{
			Region: request.State.Region, BaseEndpoint: &request.State.Endpoint, RetryMaxAttempts: 1,
			Credentials: credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken),
		})
		table := &request.State.Table
		key := func(pk string) map[string]types.AttributeValue {
			return map[string]types.AttributeValue{"pk": &types.AttributeValueMemberS{Value: pk}, "sk": &types.AttributeValueMemberB{Value: []byte("k\x00")}}
		}
		for _, pk := range []string{"state#ch#mine", "state#ch#victim", "state#other#mine", "state#ch#_lifecycle", "state#ch#mine$$pc", "state#ch#mine$$kc", "state#ch#mine$$hc", "history#ch#victim", "block#ch#0", "head#ch", "channels"} {
			_, err := client.GetItem(ctx, &dynamodb.GetItemInput{TableName: table, Key: key(pk)})
			got[name+"get "+pk] = err == nil
			_, err = client.Query(ctx, &dynamodb.QueryInput{
				TableName: table, KeyConditionExpression: aws.String("pk = :p"),
				ExpressionAttributeValues: map[string]types.AttributeValue{":p": &types.AttributeValueMemberS{Value: pk}},
			})
			got[name+"query "+pk] = err == nil
			_, err = client.PutItem(ctx, &dynamodb.PutItemInput{TableName: table, Item: key(pk)})
			got[name+"put "+pk] = err == nil
			_, err = client.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: table, Key: key(pk)})
			got[name+"delete "+pk] = err == nil
			_, err = client.UpdateItem(ctx, &dynamodb.UpdateItemInput{TableName: table, Key: key(pk)})
			got[name+"update "+pk] = err == nil
		}
		_, err := client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{
			*table: {Keys: []map[string]types.AttributeValue{key("state#ch#mine"), key("state#ch#victim")}},
		}})
		got[name+"batch get of both"] = err == nil
		_, err = client.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{
			*table: {{PutRequest: &types.PutRequest{Item: key("state#ch#mine")}}},
		}})
		got[name+"batch write"] = err == nil
		_, err = client.Scan(ctx, &dynamodb.ScanInput{TableName: table})
		got[name+"scan"] = err == nil
		_, err = client.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: table})
		got[name+"describe"] = err == nil
		_, err = client.DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: table})
		got[name+"delete the table"] = err == nil
	}
	for name, ok := range got {
		if !ok {
			delete(got, name)
		}
	}
	raw, _ := json.Marshal(got)
	return raw
}
