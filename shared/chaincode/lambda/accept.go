package lambda

import (
	"errors"
	"fmt"
	"strings"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"peerless/shared/chaincode"
	"peerless/shared/invocation"
	"peerless/shared/simulate"
	"peerless/shared/wire"
)

// accept checks a function's result, which comes from code that nobody here trusts, and merges it into the transaction. A
// result that is an error leaves what the contract did until then, as an execution here does.
func (h *Host) accept(inv *chaincode.Invocation, result *invocation.Result) (*chaincode.Result, error) {
	if err := h.merge(inv.Tx, result); err != nil {
		return nil, err
	}
	if result.Error != nil {
		return nil, result.Error.Err()
	}
	response := &peer.Response{}
	if err := proto.Unmarshal(result.Response, response); err != nil {
		return nil, fmt.Errorf("%w: response of function %s: %w", chaincode.ErrProtocol, h.Function, err)
	}
	if response.Status >= shim.ERRORTHRESHOLD {
		response.Message += h.oldFormat(response.Message)
	}
	accepted := &chaincode.Result{Response: response}
	if result.Event != nil {
		event := &peer.ChaincodeEvent{}
		if err := proto.Unmarshal(result.Event, event); err != nil || event.EventName == "" {
			return nil, fmt.Errorf("%w: function %s set an event that is none", chaincode.ErrProtocol, h.Function)
		}
		accepted.Event = &peer.ChaincodeEvent{ChaincodeId: h.Chaincode, TxId: inv.Proposal.TxID, EventName: event.EventName, Payload: event.Payload}
	}
	return accepted, nil
}

// oldFormat is what a contract's error lacks if it comes from private data in a function that is too old for it: there a chaincode has
// no collections.
func (h *Host) oldFormat(message string) string {
	h.mu.Lock()
	version := h.version
	h.mu.Unlock()
	if version > 1 || !strings.Contains(message, "collection "+h.Channel+"/"+h.Chaincode+"/") && !strings.Contains(message, "not defined in the collection config for chaincode ["+h.Chaincode+"]") {
		return ""
	}
	return fmt.Sprintf(" (function %s speaks version %d of the invocation format, private data needs version 2: build and deploy the chaincode with this Peerless)", h.Function, version)
}

func (h *Host) merge(tx *simulate.Tx, result *invocation.Result) error {
	if n := countEntries(result.Set, countedFields); n > maxEntries {
		return fmt.Errorf("%w: function %s answered with a read-write set of %d entries, the limit is %d", chaincode.ErrProtocol, h.Function, n, maxEntries)
	}
	set, err := wire.ParseRWSet(result.Set)
	if err != nil {
		return fmt.Errorf("%w: function %s: %w", chaincode.ErrProtocol, h.Function, err)
	}
	for i := range set.Namespaces {
		ns := &set.Namespaces[i]
		switch {
		case ns.Namespace != h.Chaincode || i > 0:
			return fmt.Errorf("%w: function %s answered with a read-write set of namespace %q, its own is %s", chaincode.ErrProtocol, h.Function, ns.Namespace, h.Chaincode)
		case len(ns.Collections) > 0:
			return fmt.Errorf("%w: function %s answered with private data in it: a contract asks for that", chaincode.ErrProtocol, h.Function)
		}
		err := tx.Merge(ns.Namespace, ns.KV, simulate.Access(result.Access))
		if errors.Is(err, simulate.ErrStale) {
			return err
		}
		if err != nil {
			return fmt.Errorf("%w: function %s: %w", chaincode.ErrProtocol, h.Function, err)
		}
	}
	tx.SetAccess(simulate.Access(result.Access))
	return nil
}
