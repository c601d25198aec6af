package chaincode

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"sort"
	"time"

	"github.com/hyperledger/fabric-chaincode-go/v2/pkg/statebased"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
)

// perform has every operation by its name. A value is for the results; an error is the stub's, unless it is a
// malformedError.
var perform = map[string]func(*call, *operation) (any, error){
	"GetState":                    withKey(func(c *call, key string) (any, error) { return shown(c.stub.GetState(key)) }),
	"GetMultipleStates":           getMultipleStates,
	"PutState":                    putState,
	"DelState":                    withKey(func(c *call, key string) (any, error) { return nil, c.stub.DelState(key) }),
	"SetStateValidationParameter": setStateValidationParameter,
	"GetStateValidationParameter": withKey(func(c *call, key string) (any, error) { return shownPolicy(c.stub.GetStateValidationParameter(key)) }),
	"CreateCompositeKey":          createCompositeKey,
	"SplitCompositeKey":           withKey(splitCompositeKey),
	"StartWriteBatch":             func(c *call, _ *operation) (any, error) { c.stub.StartWriteBatch(); return nil, nil },
	"FinishWriteBatch":            func(c *call, _ *operation) (any, error) { return nil, c.stub.FinishWriteBatch() },

	"GetStateByRange":                             getStateByRange,
	"GetStateByRangeWithPagination":               getStateByRangeWithPagination,
	"GetStateByPartialCompositeKey":               getStateByPartialCompositeKey,
	"GetStateByPartialCompositeKeyWithPagination": getStateByPartialCompositeKeyWithPagination,
	"GetAllStatesCompositeKeyWithPagination":      getAllStatesCompositeKeyWithPagination,
	"GetQueryResult":                              getQueryResult,
	"GetQueryResultWithPagination":                getQueryResultWithPagination,
	"GetHistoryForKey":                            getHistoryForKey,

	"GetPrivateData": withPrivateKey(func(c *call, collection, key string) (any, error) {
		return shown(c.stub.GetPrivateData(collection, key))
	}),
	"GetPrivateDataHash": withPrivateKey(getPrivateDataHash),
	"DelPrivateData":     withPrivateKey(func(c *call, collection, key string) (any, error) { return nil, c.stub.DelPrivateData(collection, key) }),
	"PurgePrivateData": withPrivateKey(func(c *call, collection, key string) (any, error) {
		return nil, c.stub.PurgePrivateData(collection, key)
	}),
	"GetPrivateDataValidationParameter": withPrivateKey(func(c *call, collection, key string) (any, error) {
		return shownPolicy(c.stub.GetPrivateDataValidationParameter(collection, key))
	}),
	"PutPrivateData":                      putPrivateData,
	"SetPrivateDataValidationParameter":   setPrivateDataValidationParameter,
	"GetMultiplePrivateData":              getMultiplePrivateData,
	"GetPrivateDataByRange":               getPrivateDataByRange,
	"GetPrivateDataByPartialCompositeKey": getPrivateDataByPartialCompositeKey,
	"GetPrivateDataQueryResult":           getPrivateDataQueryResult,

	"InvokeChaincode": invokeChaincode,
	"SetEvent":        setEvent,

	"GetTxID":                  getTxID,
	"GetChannelID":             getChannelID,
	"GetTxTimestamp":           getTxTimestamp,
	"GetBinding":               getBinding,
	"GetCreator":               getCreator,
	"GetTransient":             getTransient,
	"GetDecorations":           func(c *call, _ *operation) (any, error) { return showMap(c.stub.GetDecorations()), nil },
	"GetSignedProposal":        getSignedProposal,
	"GetArgs":                  func(c *call, _ *operation) (any, error) { return showArgs(c.stub.GetArgs()), nil },
	"GetStringArgs":            getStringArgs,
	"GetFunctionAndParameters": getFunctionAndParameters,
	"GetArgsSlice":             getArgsSlice,

	"return": end,
	"panic":  crash,
	"sleep": func(_ *call, op *operation) (any, error) {
		time.Sleep(time.Duration(op.Milliseconds) * time.Millisecond)
		return nil, nil
	},
}

func withKey(do func(c *call, key string) (any, error)) func(*call, *operation) (any, error) {
	return func(c *call, op *operation) (any, error) {
		key, err := c.bytes(op.Key)
		if err != nil {
			return nil, err
		}
		return do(c, string(key))
	}
}

func withPrivateKey(do func(c *call, collection, key string) (any, error)) func(*call, *operation) (any, error) {
	return func(c *call, op *operation) (any, error) {
		names, err := c.strings(op.Collection, op.Key)
		if err != nil {
			return nil, err
		}
		return do(c, names[0], names[1])
	}
}

func shown(b []byte, err error) (any, error) { return show(b), err }

func shownList(list [][]byte, err error) (any, error) { return showList(list), err }

func getMultipleStates(c *call, op *operation) (any, error) {
	keys, err := c.strings(op.Keys...)
	if err != nil {
		return nil, err
	}
	return shownList(c.stub.GetMultipleStates(keys...))
}

func getMultiplePrivateData(c *call, op *operation) (any, error) {
	names, err := c.strings(append([]text{op.Collection}, op.Keys...)...)
	if err != nil {
		return nil, err
	}
	return shownList(c.stub.GetMultiplePrivateData(names[0], names[1:]...))
}

func putState(c *call, op *operation) (any, error) {
	value, err := c.bytes(op.Value)
	if err != nil {
		return nil, err
	}
	return withKey(func(c *call, key string) (any, error) { return nil, c.stub.PutState(key, value) })(c, op)
}

func putPrivateData(c *call, op *operation) (any, error) {
	value, err := c.bytes(op.Value)
	if err != nil {
		return nil, err
	}
	return withPrivateKey(func(c *call, collection, key string) (any, error) {
		return nil, c.stub.PutPrivateData(collection, key, value)
	})(c, op)
}

func getPrivateDataHash(c *call, collection, key string) (any, error) {
	hash, err := c.stub.GetPrivateDataHash(collection, key)
	if hash == nil {
		return nil, err
	}
	return map[string]any{"hex": hex.EncodeToString(hash)}, err
}

// policy is a key's endorsement policy: all organisations, in a role, or bytes that are meant to be none.
type policy struct {
	Role statebased.RoleType `json:"role"`
	Orgs []string            `json:"orgs"`
	Raw  *text               `json:"raw"`
}

// policy makes an operation's policy; nil if it was left out.
func (c *call) policy(p *policy) ([]byte, error) {
	switch {
	case p == nil:
		return nil, nil
	case p.Raw != nil:
		return c.bytes(*p.Raw)
	}
	endorsement, err := statebased.NewStateEP(nil)
	if err == nil {
		err = endorsement.AddOrgs(p.Role, p.Orgs...)
	}
	if err != nil {
		return nil, &malformedError{err}
	}
	return endorsement.Policy()
}

func shownPolicy(encoded []byte, err error) (any, error) {
	if err != nil || len(encoded) == 0 {
		return nil, err
	}
	endorsement, err := statebased.NewStateEP(encoded)
	if err != nil {
		return map[string]any{"raw": show(encoded)}, nil
	}
	orgs := endorsement.ListOrgs()
	sort.Strings(orgs)
	return map[string]any{"orgs": orgs}, nil
}

func setStateValidationParameter(c *call, op *operation) (any, error) {
	encoded, err := c.policy(op.Policy)
	if err != nil {
		return nil, err
	}
	return withKey(func(c *call, key string) (any, error) {
		return nil, c.stub.SetStateValidationParameter(key, encoded)
	})(c, op)
}

func setPrivateDataValidationParameter(c *call, op *operation) (any, error) {
	encoded, err := c.policy(op.Policy)
	if err != nil {
		return nil, err
	}
	return withPrivateKey(func(c *call, collection, key string) (any, error) {
		return nil, c.stub.SetPrivateDataValidationParameter(collection, key, encoded)
	})(c, op)
}

func createCompositeKey(c *call, op *operation) (any, error) {
	names, err := c.strings(append([]text{op.Type}, op.Attributes...)...)
	if err != nil {
		return nil, err
	}
	key, err := c.stub.CreateCompositeKey(names[0], names[1:])
	return showString(key), err
}

func splitCompositeKey(c *call, key string) (any, error) {
	objectType, attributes, err := c.stub.SplitCompositeKey(key)
	shownAttributes := make([]any, len(attributes))
	for i, attribute := range attributes {
		shownAttributes[i] = showString(attribute)
	}
	return map[string]any{"type": showString(objectType), "attributes": shownAttributes}, err
}

func setEvent(c *call, op *operation) (any, error) {
	payload, err := c.bytes(op.Payload)
	if err != nil {
		return nil, err
	}
	name, err := c.strings(op.Name)
	if err != nil {
		return nil, err
	}
	return nil, c.stub.SetEvent(name[0], payload)
}

// invokeChaincode calls "run" with the given operations, or whatever function the given arguments name.
func invokeChaincode(c *call, op *operation) (any, error) {
	names, err := c.strings(op.Chaincode, op.Channel)
	if err != nil {
		return nil, err
	}
	var args [][]byte
	switch {
	case op.Operations != nil && op.Args != nil:
		return nil, &malformedError{errors.New("give ops or args, not both")}
	case op.Operations != nil:
		args = [][]byte{[]byte("run"), op.Operations}
	default:
		for _, t := range op.Args {
			arg, err := c.bytes(t)
			if err != nil {
				return nil, err
			}
			args = append(args, arg)
		}
	}
	response := c.stub.InvokeChaincode(names[0], args, names[1])
	if op.Must && failed(response) {
		c.response = response
		return nil, nil
	}
	payload := show(response.GetPayload())
	if op.Operations != nil && json.Valid(response.GetPayload()) {
		payload = json.RawMessage(response.GetPayload())
	}
	return map[string]any{"status": response.GetStatus(), "message": response.GetMessage(), "payload": payload}, nil
}

func end(c *call, op *operation) (any, error) {
	payload, err := c.bytes(op.Payload)
	if err != nil {
		return nil, err
	}
	message, err := c.strings(op.Message)
	if err != nil {
		return nil, err
	}
	c.response = &peer.Response{Status: op.Status, Message: message[0], Payload: payload}
	return nil, nil
}

func crash(c *call, op *operation) (any, error) {
	message, err := c.strings(op.Message)
	if err != nil {
		return nil, err
	}
	panic(message[0]) // the operation is to crash: hosts are tested with it
}
