package chaincode_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hyperledger/fabric-chaincode-go/v2/pkg/cid"
	"github.com/hyperledger/fabric-chaincode-go/v2/pkg/statebased"
	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/queryresult"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/wire"
)

// probe makes the public stub calls of the conformance probe (testdata/conformance/README.md, section 2).
type probe struct{}

// A text is a JSON string, or an object that describes bytes.
type text struct{ bytes []byte }

func (t *text) UnmarshalJSON(raw []byte) error {
	var plain string
	if json.Unmarshal(raw, &plain) == nil {
		t.bytes = []byte(plain)
		return nil
	}
	var o struct {
		Base64    []byte
		Repeat    string
		Count     int
		Composite []text
	}
	if err := json.Unmarshal(raw, &o); err != nil {
		return err
	}
	switch {
	case o.Base64 != nil:
		t.bytes = o.Base64
	case o.Composite != nil:
		key, err := shim.CreateCompositeKey(string(o.Composite[0].bytes), texts(o.Composite[1:]))
		t.bytes = []byte(key)
		return err
	default:
		t.bytes = []byte(strings.Repeat(o.Repeat, o.Count))
	}
	return nil
}

type op struct {
	Op                                        string
	Key, Value, Start, End, Bookmark, Payload text
	Keys                                      []text
	Type                                      text
	Attributes                                []text
	PageSize                                  int32
	Query, Name, Message, Chaincode, Channel  string
	Ops                                       json.RawMessage
	Args                                      []text
	Status                                    int32
	Must, LeaveOpen                           bool
	Take                                      *int
	Policy                                    *struct {
		Role string
		Orgs []string
		Raw  *text
	}
}

func (probe) Init(shim.ChaincodeStubInterface) *peer.Response { return shim.Success(nil) }

func (p probe) Invoke(stub shim.ChaincodeStubInterface) *peer.Response {
	args := stub.GetArgs()
	var ops []op
	if len(args) < 2 || string(args[0]) != "run" {
		return shim.Error(`probe: want the function "run" and a JSON array of operations`)
	}
	if err := json.Unmarshal(args[1], &ops); err != nil {
		return shim.Error("probe: operations: " + err.Error())
	}
	results := []map[string]any{}
	for _, o := range ops {
		if o.Op == "return" {
			return &peer.Response{Status: o.Status, Message: o.Message, Payload: o.Payload.bytes}
		}
		value, err := p.do(stub, &o)
		if failed, ok := value.(*peer.Response); ok {
			if o.Must && failed.Status >= 400 {
				return failed
			}
			value = called(failed, o.Ops != nil)
		}
		result := map[string]any{"op": o.Op, "value": value}
		if err != nil {
			if o.Must {
				return shim.Error(o.Op + ": " + err.Error())
			}
			result["error"] = err.Error()
		}
		results = append(results, result)
	}
	payload, err := json.Marshal(results)
	if err != nil {
		return shim.Error(err.Error())
	}
	return shim.Success(payload)
}

func (probe) do(stub shim.ChaincodeStubInterface, o *op) (any, error) {
	key := string(o.Key.bytes)
	switch o.Op {
	case "GetState":
		value, err := stub.GetState(key)
		return show(value), err
	case "GetMultipleStates":
		values, err := stub.GetMultipleStates(texts(o.Keys)...)
		if values == nil {
			return nil, err
		}
		shown := []any{}
		for _, value := range values {
			shown = append(shown, show(value))
		}
		return shown, err
	case "PutState":
		return nil, stub.PutState(key, o.Value.bytes)
	case "DelState":
		return nil, stub.DelState(key)
	case "StartWriteBatch":
		stub.StartWriteBatch()
		return nil, nil
	case "FinishWriteBatch":
		return nil, stub.FinishWriteBatch()
	case "SetEvent":
		return nil, stub.SetEvent(o.Name, o.Payload.bytes)
	case "GetStateValidationParameter":
		return policyOf(stub.GetStateValidationParameter(key))
	case "SetStateValidationParameter":
		return nil, setPolicy(stub, key, o)
	case "GetStateByRange":
		it, err := stub.GetStateByRange(string(o.Start.bytes), string(o.End.bytes))
		return rows(it, err, nil, o)
	case "GetStateByRangeWithPagination":
		it, meta, err := stub.GetStateByRangeWithPagination(string(o.Start.bytes), string(o.End.bytes), o.PageSize, string(o.Bookmark.bytes))
		return rows(it, err, meta, o)
	case "GetStateByPartialCompositeKey":
		it, err := stub.GetStateByPartialCompositeKey(string(o.Type.bytes), texts(o.Attributes))
		return rows(it, err, nil, o)
	case "GetStateByPartialCompositeKeyWithPagination":
		it, meta, err := stub.GetStateByPartialCompositeKeyWithPagination(string(o.Type.bytes), texts(o.Attributes), o.PageSize, string(o.Bookmark.bytes))
		return rows(it, err, meta, o)
	case "GetAllStatesCompositeKeyWithPagination":
		it, meta, err := stub.GetAllStatesCompositeKeyWithPagination(o.PageSize, string(o.Bookmark.bytes))
		return rows(it, err, meta, o)
	case "GetQueryResult":
		it, err := stub.GetQueryResult(o.Query)
		return rows(it, err, nil, o)
	case "GetQueryResultWithPagination":
		it, meta, err := stub.GetQueryResultWithPagination(o.Query, o.PageSize, string(o.Bookmark.bytes))
		return rows(it, err, meta, o)
	case "GetHistoryForKey":
		return history(stub, key, o)
	case "CreateCompositeKey":
		composite, err := stub.CreateCompositeKey(string(o.Type.bytes), texts(o.Attributes))
		return show([]byte(composite)), err
	case "SplitCompositeKey":
		kind, attributes, err := stub.SplitCompositeKey(key)
		return map[string]any{"type": kind, "attributes": attributes}, err
	case "InvokeChaincode":
		args := [][]byte{[]byte("run"), o.Ops}
		if o.Ops == nil {
			args = nil
			for _, arg := range o.Args {
				args = append(args, arg.bytes)
			}
		}
		return stub.InvokeChaincode(o.Chaincode, args, o.Channel), nil
	case "GetTxID":
		proposal, err := proposalOf(stub)
		if err != nil || stub.GetTxID() != proposal.TxID || stub.GetTxID() != wire.TxID(proposal.Nonce, proposal.Creator) {
			return stub.GetTxID(), err
		}
		return "<txid>, <sha256 of nonce and creator>", nil
	case "GetChannelID":
		proposal, err := proposalOf(stub)
		if err != nil {
			return nil, err
		}
		return map[string]any{"channel": stub.GetChannelID(), "proposal": proposal.Channel}, nil
	case "GetSignedProposal":
		proposal, err := proposalOf(stub)
		if err != nil {
			return nil, err
		}
		return map[string]any{
			"signed": len(proposal.Signed.Signature) > 0, "chaincode": proposal.Chaincode, "channel": proposal.Channel,
			"type": proposal.Type, "epoch": proposal.Epoch, "transientInProposal": len(proposal.Transient),
		}, nil
	case "GetCreator":
		mspID, err := cid.GetMSPID(stub)
		if err != nil {
			return nil, err
		}
		cert, err := cid.GetX509Certificate(stub)
		if err != nil {
			return nil, err
		}
		return map[string]any{"mspId": mspID, "commonName": cert.Subject.CommonName}, nil
	}
	return nil, fmt.Errorf("probe: unknown operation %s", o.Op)
}

func proposalOf(stub shim.ChaincodeStubInterface) (*wire.Proposal, error) {
	signed, err := stub.GetSignedProposal()
	if err != nil {
		return nil, err
	}
	return wire.ParseProposal(signed)
}

func texts(list []text) []string {
	plain := []string{}
	for _, t := range list {
		plain = append(plain, string(t.bytes))
	}
	return plain
}

// show is how the probe reports bytes.
func show(b []byte) any {
	switch {
	case b == nil:
		return nil
	case len(b) >= 2048:
		sum := sha256.Sum256(b)
		return map[string]any{"sha256": hex.EncodeToString(sum[:]), "length": len(b)}
	case utf8.Valid(b):
		return string(b)
	default:
		return map[string]any{"base64": base64.StdEncoding.EncodeToString(b)}
	}
}

func called(r *peer.Response, parse bool) any {
	payload := show(r.Payload)
	var parsed any
	if parse && json.Unmarshal(r.Payload, &parsed) == nil {
		payload = parsed
	}
	return map[string]any{"status": r.Status, "message": r.Message, "payload": payload}
}

func rows(it shim.StateQueryIteratorInterface, err error, meta *peer.QueryResponseMetadata, o *op) (any, error) {
	if err != nil {
		return nil, err
	}
	shown := map[string]any{}
	list := []any{}
	for it.HasNext() && (o.Take == nil || len(list) < *o.Take) {
		var row *queryresult.KV
		if row, err = it.Next(); err != nil {
			return nil, err
		}
		shown["namespace"] = row.Namespace
		list = append(list, map[string]any{"key": show([]byte(row.Key)), "value": show(row.Value)})
	}
	shown["rows"] = list
	if meta != nil {
		shown["fetched"], shown["bookmark"] = meta.FetchedRecordsCount, show([]byte(meta.Bookmark))
	}
	if o.LeaveOpen {
		return shown, nil
	}
	return shown, it.Close()
}

func history(stub shim.ChaincodeStubInterface, key string, o *op) (any, error) {
	it, err := stub.GetHistoryForKey(key)
	if err != nil {
		return nil, err
	}
	list := []any{}
	for it.HasNext() && (o.Take == nil || len(list) < *o.Take) {
		change, err := it.Next()
		if err != nil {
			return nil, err
		}
		list = append(list, map[string]any{
			"txId": change.TxId, "value": show(change.Value), "isDelete": change.IsDelete,
			"timestamp": change.Timestamp.AsTime().Format(time.RFC3339Nano),
		})
	}
	return map[string]any{"rows": list}, it.Close()
}

func policyOf(raw []byte, err error) (any, error) {
	if err != nil || raw == nil {
		return nil, err
	}
	policy, err := statebased.NewStateEP(raw)
	if err != nil {
		return map[string]any{"raw": show(raw)}, nil
	}
	orgs := policy.ListOrgs()
	slices.Sort(orgs)
	return map[string]any{"orgs": orgs}, nil
}

func setPolicy(stub shim.ChaincodeStubInterface, key string, o *op) error {
	switch {
	case o.Policy == nil:
		return stub.SetStateValidationParameter(key, nil)
	case o.Policy.Raw != nil:
		return stub.SetStateValidationParameter(key, o.Policy.Raw.bytes)
	}
	policy, err := statebased.NewStateEP(nil)
	if err != nil {
		return err
	}
	if err := policy.AddOrgs(statebased.RoleType(o.Policy.Role), o.Policy.Orgs...); err != nil {
		return err
	}
	raw, err := policy.Policy()
	if err != nil {
		return err
	}
	return stub.SetStateValidationParameter(key, raw)
}
