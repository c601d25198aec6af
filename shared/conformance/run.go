package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"peerless/shared/msp"
)

// Options say in what a network may differ from Fabric, and how it is to be waited for. The zero value compares all.
type Options struct {
	// IgnoreLifecycle leaves the namespace _lifecycle out of both sides' read-write sets: Fabric reads the chaincode's
	// definition there in every transaction, an implementation that keeps definitions elsewhere does not.
	IgnoreLifecycle bool

	// Regroup takes the blocks into which an "order" step fell for one, as it is in Fabric. Its transactions must stand in
	// the order given all the same.
	Regroup bool

	// Quiet is how long no event must have come for a stream to be at its end. It counts from when as much has come as was
	// recorded. 0: 250 ms.
	Quiet time.Duration

	// Pause is called for a step that waits, as for a crashed chaincode to come back. Nil waits for the given time.
	Pause func(ctx context.Context, d time.Duration) error
}

const defaultQuiet = 250 * time.Millisecond

// Run takes a scenario's steps on a network and returns where its answers differ from the recorded ones. An error means
// that the scenario could not be run at all.
//
// Every scenario has its keys to itself: all can be run on one network, one after the other, once each.
func Run(ctx context.Context, network Network, identities Identities, scenario *Scenario, options Options) ([]Difference, error) {
	if options.Quiet == 0 {
		options.Quiet = defaultQuiet
	}
	if options.Pause == nil {
		options.Pause = wait
	}
	reader, err := identities.user("org1user")
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", scenario.Name, err)
	}
	r := &run{
		network:    network,
		identities: identities,
		options:    options,
		reader:     reader,
		proposed:   map[string]*proposed{},
		names:      newNames(),
		chains:     map[string]*chain{},
	}
	var differences []Difference
	for i := range scenario.Steps {
		step := &scenario.Steps[i]
		found, err := r.check(ctx, step, scenario.Recorded[i])
		if err != nil {
			return differences, fmt.Errorf("run %s: step %s: %w", scenario.Name, step.ID, err)
		}
		differences = append(differences, found...)
	}
	return differences, nil
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run is one scenario under way.
type run struct {
	network    Network
	identities Identities
	options    Options
	reader     *msp.Signer          // asks what no step asks
	proposed   map[string]*proposed // by label
	names      *names
	chains     map[string]*chain // by channel
}

// proposed is a transaction since it was proposed.
type proposed struct {
	label, channel, txID string
	user                 *msp.Signer
	signed               *peer.SignedProposal
	nonce                []byte
	envelope             *common.Envelope // unsigned; nil until it is endorsed
	at                   *position        // where it last was found in the chain; nil until it is committed
}

// object is a JSON object in the making.
type object = map[string]any

// check takes a step and compares its answer.
func (r *run) check(ctx context.Context, step *Step, recorded json.RawMessage) ([]Difference, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(step.Timeout))
	defer cancel()
	want, err := generic(recorded)
	if err != nil {
		return nil, fmt.Errorf("recorded result: %w", err)
	}
	answer := object{"id": step.ID, "do": step.Do}
	if err := r.take(ctx, step, recorded, answer); err != nil {
		return nil, err
	}
	encoded, err := json.Marshal(answer)
	if err != nil {
		return nil, err
	}
	got, err := generic(encoded)
	if err != nil {
		return nil, err
	}
	if r.options.IgnoreLifecycle {
		withoutLifecycle(got)
		withoutLifecycle(want)
	}
	return compare(step.ID, got, want), nil
}

// withoutLifecycle takes the entry of the namespace _lifecycle out of a step's read-write set.
func withoutLifecycle(step any) {
	fields, _ := step.(object)
	namespaces, _ := fields["rwset"].([]any)
	var kept []any
	for _, namespace := range namespaces {
		if entry, _ := namespace.(object); entry["namespace"] != "_lifecycle" {
			kept = append(kept, namespace)
		}
	}
	if _, ok := fields["rwset"]; ok {
		fields["rwset"] = kept
	}
}

func (r *run) take(ctx context.Context, step *Step, recorded json.RawMessage, answer object) error {
	switch step.Do {
	case "evaluate":
		return r.evaluate(ctx, step, answer)
	case "endorse":
		_, err := r.endorse(ctx, step, answer)
		return err
	case "submit":
		return r.submit(ctx, step, answer)
	case "order":
		return r.order(ctx, step, answer)
	case "status":
		return r.status(ctx, step, answer)
	case "events":
		return r.events(ctx, step, recorded, answer)
	case "blocks":
		return r.blocks(ctx, step, recorded, answer)
	case "pause":
		return r.options.Pause(ctx, time.Duration(step.Pause))
	}
	return fmt.Errorf("there is no way to do %q", step.Do)
}

func (r *run) evaluate(ctx context.Context, step *Step, answer object) error {
	p, err := r.propose(step)
	if err != nil {
		return err
	}
	response, err := r.network.Evaluate(ctx, step.Gateway, &gateway.EvaluateRequest{
		TransactionId: p.txID, ChannelId: step.Channel, ProposedTransaction: p.signed, TargetOrganizations: step.Orgs,
	})
	if err != nil {
		answer["error"] = r.names.failure("evaluate", err)
		return nil
	}
	r.showResponse(answer, response.GetResult())
	return nil
}

// endorse returns nil if the transaction was refused, which is an answer.
func (r *run) endorse(ctx context.Context, step *Step, answer object) (*proposed, error) {
	p, err := r.propose(step)
	if err != nil {
		return nil, err
	}
	response, err := r.network.Endorse(ctx, step.Gateway, &gateway.EndorseRequest{
		TransactionId: p.txID, ChannelId: step.Channel, ProposedTransaction: p.signed, EndorsingOrganizations: step.Orgs,
	})
	if err != nil {
		answer["error"] = r.names.failure("endorse", err)
		return nil, nil
	}
	p.envelope = response.GetPreparedTransaction()
	return p, r.showTransaction(ctx, answer, p)
}

func (r *run) submit(ctx context.Context, step *Step, answer object) error {
	p, err := r.endorse(ctx, step, answer)
	if err != nil || p == nil {
		return err
	}
	items, err := r.commit(ctx, step, []OrderedTx{{Tx: p.label}})
	if err != nil {
		return err
	}
	for _, part := range []string{"commit", "error", "inBlock"} {
		if shown, ok := items[0][part]; ok {
			answer[part] = shown
		}
	}
	return nil
}

func (r *run) order(ctx context.Context, step *Step, answer object) error {
	items, err := r.commit(ctx, step, step.Txs)
	answer["txs"] = items
	return err
}

// commit submits endorsed transactions at once, waits for the outcome of each, and shows them.
func (r *run) commit(ctx context.Context, step *Step, txs []OrderedTx) ([]object, error) {
	requests := make([]*gateway.SubmitRequest, len(txs))
	for i, tx := range txs {
		p := r.proposed[tx.Tx]
		if p == nil || p.envelope == nil {
			return nil, fmt.Errorf("transaction %s was not endorsed", tx.Tx)
		}
		envelope, err := r.seal(p, tx)
		if err != nil {
			return nil, err
		}
		requests[i] = &gateway.SubmitRequest{TransactionId: p.txID, ChannelId: p.channel, PreparedTransaction: envelope}
	}
	failures := r.network.Submit(ctx, step.Gateway, requests)
	if len(failures) != len(requests) {
		return nil, fmt.Errorf("submit answered %d of %d requests", len(failures), len(requests))
	}
	items := make([]object, len(txs))
	var landed []landing
	for i, tx := range txs {
		items[i] = object{"tx": tx.Tx}
		if failures[i] != nil {
			items[i]["error"] = r.names.failure("submit", failures[i])
			continue
		}
		l, err := r.await(ctx, step, r.proposed[tx.Tx], items[i])
		if err != nil {
			return nil, err
		}
		if l != nil {
			landed = append(landed, *l)
		}
	}
	r.number(landed)
	return items, nil
}

// await asks for the outcome of a transaction that was ordered, and finds it in the chain. It returns nil if that failed,
// which is an answer.
func (r *run) await(ctx context.Context, step *Step, p *proposed, item object) (*landing, error) {
	status, err := r.commitStatus(ctx, step.Gateway, p.user, p.channel, p.txID, "")
	if err != nil {
		item["error"] = r.names.failure("commitStatus", err)
		return nil, nil
	}
	l := &landing{item: item, channel: p.channel, status: status}
	again := p.at != nil
	start := position{block: status.GetBlockNumber()}
	if again {
		start = position{p.at.block, p.at.tx + 1}
	}
	found, code, err := r.find(ctx, p.channel, p.txID, start)
	if err != nil {
		return nil, fmt.Errorf("find %s in the chain: %w", p.label, err)
	}
	if again {
		l.again = &code
	}
	p.at, l.at = &found, found
	for _, mspID := range Organizations {
		// So that the next step finds every gateway level; what it says was heard above.
		_, _ = r.commitStatus(ctx, mspID, r.reader, p.channel, p.txID, "")
	}
	return l, nil
}

func (r *run) commitStatus(ctx context.Context, gatewayMSP string, user *msp.Signer, channel, txID, spoil string) (*gateway.CommitStatusResponse, error) {
	request, err := proto.Marshal(&gateway.CommitStatusRequest{TransactionId: txID, ChannelId: channel, Identity: user.Serialized})
	if err != nil {
		return nil, err
	}
	signature, err := user.Sign(request)
	if err != nil {
		return nil, err
	}
	if signature, err = spoiled(signature, spoil); err != nil {
		return nil, err
	}
	return r.network.CommitStatus(ctx, gatewayMSP, &gateway.SignedCommitStatusRequest{Request: request, Signature: signature})
}

func (r *run) status(ctx context.Context, step *Step, answer object) error {
	user, err := r.identities.user(step.User)
	if err != nil {
		return err
	}
	status, err := r.commitStatus(ctx, step.Gateway, user, step.Channel, r.txID(step.Tx), step.Signature)
	if err != nil {
		answer["error"] = r.names.failure("commitStatus", err)
		return nil
	}
	answer["commit"] = object{"code": status.GetResult().String(), "block": r.chain(step.Channel).relative(status.GetBlockNumber())}
	return nil
}

// txID takes a label, or an id as it is.
func (r *run) txID(name string) string {
	if p := r.proposed[name]; p != nil {
		return p.txID
	}
	return name
}
