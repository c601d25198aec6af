package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"
)

func (r *run) events(ctx context.Context, step *Step, recorded json.RawMessage, answer object) error {
	user, err := r.identities.user(step.User)
	if err != nil {
		return err
	}
	chain := r.chain(step.Channel)
	from := chain.absolute(step.From)
	if after := r.proposed[step.After]; after != nil && after.at != nil && chain.relative(after.at.block) == int64(step.From) {
		from = after.at.block // of several that count as one, the block that a checkpoint would name
	}
	asked := &gateway.ChaincodeEventsRequest{
		ChannelId:     step.Channel,
		ChaincodeId:   step.Chaincode,
		Identity:      user.Serialized,
		StartPosition: &orderer.SeekPosition{Type: &orderer.SeekPosition_Specified{Specified: &orderer.SeekSpecified{Number: from}}},
	}
	if step.After != "" {
		asked.AfterTransactionId = r.txID(step.After)
	}
	request, err := proto.Marshal(asked)
	if err != nil {
		return err
	}
	signature, err := user.Sign(request)
	if err != nil {
		return err
	}
	shown := []object{}
	err = collect(ctx, r.options.Quiet, step.expects(recorded, "events"),
		func(ctx context.Context) (func() (*gateway.ChaincodeEventsResponse, error), error) {
			stream, err := r.network.ChaincodeEvents(ctx, step.Gateway, &gateway.SignedChaincodeEventsRequest{Request: request, Signature: signature})
			if err != nil {
				return nil, err
			}
			return stream.Recv, nil
		},
		func(response *gateway.ChaincodeEventsResponse) int {
			for _, event := range response.GetEvents() {
				shown = append(shown, object{
					"block":     chain.relative(response.GetBlockNumber()),
					"chaincode": event.GetChaincodeId(),
					"name":      event.GetEventName(),
					"payload":   r.names.payload(event.GetPayload()),
					"tx":        r.names.text(event.GetTxId()),
				})
			}
			return len(shown)
		})
	answer["events"] = shown
	if err != nil {
		answer["error"] = r.names.failure("events", err)
	}
	return nil
}

func (r *run) blocks(ctx context.Context, step *Step, recorded json.RawMessage, answer object) error {
	user, err := r.identities.user(step.User)
	if err != nil {
		return err
	}
	chain := r.chain(step.Channel)
	shown := []object{}
	count := 0
	err = collect(ctx, r.options.Quiet, step.expects(recorded, "blocks"),
		func(ctx context.Context) (func() (*peer.FilteredBlock, error), error) {
			stream, err := r.network.FilteredBlocks(ctx, step.Gateway, user, step.Channel, chain.absolute(step.From))
			if err != nil {
				return nil, err
			}
			return stream.Recv, nil
		},
		func(block *peer.FilteredBlock) int {
			var txs []object
			for _, tx := range block.GetFilteredTransactions() {
				txs = append(txs, r.showFiltered(tx))
			}
			count += len(txs)
			number := chain.relative(block.GetNumber())
			if last := len(shown) - 1; last >= 0 && shown[last]["block"] == number {
				shown[last]["txs"] = append(shown[last]["txs"].([]object), txs...)
			} else {
				shown = append(shown, object{"block": number, "txs": txs})
			}
			return count
		})
	answer["blocks"] = shown
	if err != nil {
		answer["error"] = r.names.failure("events", err)
	}
	return nil
}

// expects returns how many events, or transactions in blocks, were recorded; -1 if the stream failed.
func (s *Step) expects(recorded json.RawMessage, list string) int {
	var result struct {
		Events []json.RawMessage `json:"events"`
		Blocks []struct {
			Txs []json.RawMessage `json:"txs"`
		} `json:"blocks"`
		Error json.RawMessage `json:"error"`
	}
	if err := json.Unmarshal(recorded, &result); err != nil || result.Error != nil {
		return -1
	}
	n := len(result.Events)
	for _, block := range result.Blocks {
		n += len(block.Txs)
	}
	return n
}

// collect reads a stream to its end: until nothing has come for the time quiet after add has counted enough. If enough is
// negative, the stream is to fail. The error is the stream's, nil if all that happened is that no more came.
func collect[T any](ctx context.Context, quiet time.Duration, enough int, open func(context.Context) (func() (T, error), error), add func(T) int) error {
	ctx, cancel := context.WithCancel(ctx)
	type received struct {
		value T
		err   error
	}
	arrived := make(chan received)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		receive, err := open(ctx)
		for {
			var next received
			if err != nil {
				next.err = err
			} else {
				next.value, next.err = receive()
			}
			select {
			case arrived <- next:
			case <-ctx.Done():
				return
			}
			if next.err != nil {
				return
			}
		}
	}()
	defer func() { cancel(); <-ended }()
	timer := time.NewTimer(quiet)
	defer timer.Stop()
	count := 0
	for {
		expired := timer.C
		if enough < 0 || count < enough {
			expired = nil
		}
		select {
		case next := <-arrived:
			if next.err != nil {
				return next.err
			}
			count = add(next.value)
			timer.Reset(quiet)
		case <-expired:
			return nil
		case <-ctx.Done():
			if enough >= 0 && errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil // what came is compared
			}
			return ctx.Err()
		}
	}
}
