package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"

	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer/lifecycle"
	"google.golang.org/protobuf/proto"

	"peerless/shared/channelconfig"
	"peerless/shared/ledger"
	"peerless/shared/simulate"
	"peerless/shared/wire"
)

// Functions of _lifecycle that write.
const (
	approveFunction = "ApproveChaincodeDefinitionForMyOrg"
	commitFunction  = "CommitChaincodeDefinition"
)

// A lifecycleCall is one execution of _lifecycle, the system chaincode of definitions, by an organisation's endorser. Semantics,
// access and texts are those of Fabric's core/chaincode/lifecycle, and so is the read-write set (TestLifecycleAsRecorded).
type lifecycleCall struct {
	*Service
	channel  *ledger.Channel
	proposal *wire.Proposal
	mspID    string // whose endorser it is
	tx       *simulate.Tx
}

// simulateLifecycle runs a client's proposal for _lifecycle as an organisation's endorser.
func (s *Service) simulateLifecycle(ctx context.Context, channel *ledger.Channel, view ledger.View, p *wire.Proposal, mspID string) (*simulation, *endorserError) {
	c := &lifecycleCall{Service: s, channel: channel, proposal: p, mspID: mspID, tx: simulate.New(view, p.TxID)}
	return c.simulation(c.invoke(ctx))
}

// simulation ends the call with a response.
func (c *lifecycleCall) simulation(response *peer.Response) (*simulation, *endorserError) {
	if err := c.tx.Err(); err != nil {
		return nil, executionError(c.proposal.TxID, err)
	}
	sim := &simulation{response: response, version: systemVersion, mspID: c.mspID, height: c.tx.Savepoint()}
	if response.Status >= errorThreshold {
		return sim, nil
	}
	var err error
	if sim.rwset, err = c.tx.Results(); err == nil {
		sim.results, err = sim.rwset.Marshal()
	}
	sim.private, sim.collections = c.tx.Private(), c.tx.Collections()
	if err == nil {
		sim.queries, err = c.tx.Queries()
	}
	if err != nil {
		return nil, executionError(c.proposal.TxID, err)
	}
	return sim, tooLarge(sim)
}

// notDefined and noPackage are answered with 404, as in Fabric.
type notDefined struct{ name string }

func (e *notDefined) Error() string { return fmt.Sprintf("namespace %s is not defined", e.name) }

type noPackage struct{ id string }

func (e *noPackage) Error() string {
	return fmt.Sprintf("chaincode install package '%s' not found", e.id)
}

func (c *lifecycleCall) invoke(ctx context.Context) *peer.Response {
	fail := func(status int32, format string, args ...any) *peer.Response {
		return &peer.Response{Status: status, Message: fmt.Sprintf(format, args...)}
	}
	args := c.proposal.Input.GetArgs()
	if len(args) == 0 {
		return fail(500, "lifecycle scc must be invoked with arguments")
	}
	function := string(args[0])
	if len(args) != 2 && !(len(args) == 3 && function == commitFunction) {
		return fail(500, "lifecycle scc operations require exactly two arguments but received %d", len(args))
	}
	if err := c.authorize(function); err != nil {
		return fail(500, "Failed to authorize invocation due to failed ACL check: %v", err)
	}
	answer, err := c.dispatch(ctx, function, args[1:])
	if err == nil {
		var payload []byte
		if payload, err = proto.Marshal(answer); err == nil {
			return &peer.Response{Status: 200, Payload: payload}
		}
	}
	if errors.As(err, new(*notDefined)) || errors.As(err, new(*noPackage)) {
		return fail(404, "%v", err)
	}
	return fail(500, "failed to invoke backing implementation of '%s': %v", function, err)
}

// authorize checks who asks, as core/aclmgmt has it by default: what an organisation does or keeps for itself is for its own
// administrators, what the channel has is for the channel's writers.
func (c *lifecycleCall) authorize(function string) error {
	switch function {
	case approveFunction, "QueryApprovedChaincodeDefinition", "QueryApprovedChaincodeDefinitions",
		"InstallChaincode", "QueryInstalledChaincode", "QueryInstalledChaincodes", "GetInstalledChaincodePackage":
		return c.administrator()
	case commitFunction, "CheckCommitReadiness", "QueryChaincodeDefinition", "QueryChaincodeDefinitions":
		return allowed(c.channel, channelconfig.PathWriters, c.proposal.Creator)
	}
	return fmt.Errorf("Unmapped policy for %s/%s", ledger.LifecycleNamespace, function) //lint:ignore ST1005 Fabric's text
}

// administrator checks that the proposal's creator administers the endorser's organisation: core/policy's CheckPolicyNoChannel.
func (c *lifecycleCall) administrator() error {
	id, err := c.channel.Config().MSPs.Identify(c.proposal.Creator)
	if err == nil && id.MSPID != c.mspID {
		err = fmt.Errorf("expected MSP ID %s, received %s", c.mspID, id.MSPID)
	}
	if err != nil {
		//lint:ignore ST1005 Fabric's text
		return fmt.Errorf("Failed deserializing proposal creator during channelless check policy with policy [Admins]: [%w]", err)
	}
	role, err := proto.Marshal(&mspproto.MSPRole{MspIdentifier: c.mspID, Role: mspproto.MSPRole_ADMIN})
	if err != nil {
		return err
	}
	if !id.Satisfies(&mspproto.MSPPrincipal{PrincipalClassification: mspproto.MSPPrincipal_ROLE, Principal: role}) {
		//lint:ignore ST1005 Fabric's text
		return fmt.Errorf("Failed verifying that proposal's creator satisfies local MSP principal during channelless check policy with policy [Admins]: "+
			"[The identity is not an admin under this MSP [%s]]", c.mspID)
	}
	return nil
}

func (c *lifecycleCall) dispatch(ctx context.Context, function string, args [][]byte) (proto.Message, error) {
	switch function {
	case approveFunction:
		return decoded(ctx, args[0], &lifecycle.ApproveChaincodeDefinitionForMyOrgArgs{}, c.approveForMyOrg)
	case commitFunction:
		return decoded(ctx, args[0], &lifecycle.CommitChaincodeDefinitionArgs{}, func(ctx context.Context, in *lifecycle.CommitChaincodeDefinitionArgs) (proto.Message, error) {
			return c.commitForMyOrg(ctx, in, args[1:])
		})
	case "CheckCommitReadiness":
		return decoded(ctx, args[0], &lifecycle.CheckCommitReadinessArgs{}, c.checkReadiness)
	case "QueryChaincodeDefinition":
		return decoded(ctx, args[0], &lifecycle.QueryChaincodeDefinitionArgs{}, c.queryDefinition)
	case "QueryChaincodeDefinitions":
		return decoded(ctx, args[0], &lifecycle.QueryChaincodeDefinitionsArgs{}, c.queryDefinitions)
	case "QueryApprovedChaincodeDefinition":
		return decoded(ctx, args[0], &lifecycle.QueryApprovedChaincodeDefinitionArgs{}, c.queryApproved)
	case "QueryApprovedChaincodeDefinitions":
		return decoded(ctx, args[0], &lifecycle.QueryApprovedChaincodeDefinitionsArgs{}, c.queryAllApproved)
	case "QueryInstalledChaincode":
		return decoded(ctx, args[0], &lifecycle.QueryInstalledChaincodeArgs{}, c.queryInstalled)
	case "QueryInstalledChaincodes":
		return decoded(ctx, args[0], &lifecycle.QueryInstalledChaincodesArgs{}, c.queryAllInstalled)
	}
	return nil, errors.New("packages are installed with peerless deploy or over HTTP")
}

// decoded calls a function of _lifecycle with its argument.
func decoded[In proto.Message](ctx context.Context, raw []byte, in In, call func(context.Context, In) (proto.Message, error)) (proto.Message, error) {
	if err := proto.Unmarshal(raw, in); err != nil {
		return nil, fmt.Errorf("could not decode input arg for %T: %w", in, err)
	}
	return call(ctx, in)
}

// checkReadiness says who approved a definition that is to be the next.
func (c *lifecycleCall) checkReadiness(ctx context.Context, in *lifecycle.CheckCommitReadinessArgs) (proto.Message, error) {
	d, err := definitionIn(in, c.channel)
	if err != nil {
		return nil, err
	}
	approvals, mismatches, err := c.readiness(ctx, d)
	if err != nil {
		return nil, err
	}
	answer := &lifecycle.CheckCommitReadinessResult{Approvals: approvals, Mismatches: make(map[string]*lifecycle.CheckCommitReadinessResult_Mismatches)}
	for mspID, fields := range mismatches {
		answer.Mismatches[mspID] = &lifecycle.CheckCommitReadinessResult_Mismatches{Items: fields}
	}
	return answer, nil
}

func (c *lifecycleCall) queryDefinition(ctx context.Context, in *lifecycle.QueryChaincodeDefinitionArgs) (proto.Message, error) {
	d, err := c.defined(ctx, in.GetName())
	if err != nil {
		return nil, err
	}
	if d == nil {
		return nil, &notDefined{in.GetName()}
	}
	approvals, _, err := c.agreed(ctx, d)
	if err != nil {
		return nil, err
	}
	policy, err := proto.Marshal(d.Policy)
	if err != nil {
		return nil, err
	}
	return &lifecycle.QueryChaincodeDefinitionResult{
		Sequence: d.Sequence, Version: d.Version, EndorsementPlugin: ledger.EndorsementPlugin, ValidationPlugin: ledger.ValidationPlugin,
		ValidationParameter: policy, Collections: d.Collections, InitRequired: d.InitRequired, Approvals: approvals,
	}, nil
}

func (c *lifecycleCall) queryDefinitions(ctx context.Context, _ *lifecycle.QueryChaincodeDefinitionsArgs) (proto.Message, error) {
	names, err := c.definedNames(ctx)
	if err != nil {
		return nil, err
	}
	answer := &lifecycle.QueryChaincodeDefinitionsResult{}
	for _, name := range names {
		d, err := c.defined(ctx, name)
		if err != nil {
			return nil, err
		}
		policy, err := proto.Marshal(d.Policy)
		if err != nil {
			return nil, err
		}
		answer.ChaincodeDefinitions = append(answer.ChaincodeDefinitions, &lifecycle.QueryChaincodeDefinitionsResult_ChaincodeDefinition{
			Name: d.Name, Sequence: d.Sequence, Version: d.Version, EndorsementPlugin: ledger.EndorsementPlugin, ValidationPlugin: ledger.ValidationPlugin,
			ValidationParameter: policy, Collections: d.Collections, InitRequired: d.InitRequired,
		})
	}
	return answer, nil
}

// definedNames returns the chaincodes that the channel defines, sorted.
func (c *lifecycleCall) definedNames(ctx context.Context) ([]string, error) {
	start, end := ledger.DefinitionRange()
	rows, err := c.tx.Range(ctx, ledger.LifecycleNamespace, start, end)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var names []string
	for {
		row, more, err := rows.Next(ctx)
		if err != nil || !more {
			return names, err
		}
		names = append(names, strings.TrimPrefix(row.Key, start))
	}
}

// queryApproved returns what the endorser's organisation approved: at a sequence, or the newest of the current and the next.
func (c *lifecycleCall) queryApproved(ctx context.Context, in *lifecycle.QueryApprovedChaincodeDefinitionArgs) (proto.Message, error) {
	own, name, sequence := c.own(), in.GetName(), in.GetSequence()
	if sequence == 0 {
		current, err := c.sequence(ctx, name)
		if err != nil {
			return nil, err
		}
		sequence = current
		next, _ := ledger.ApprovalKeys(name, current+1)
		if metadata, err := own.get(ctx, next); err != nil {
			return nil, fmt.Errorf("could not deserialize namespace metadata for next sequence %d: %w", current+1, err)
		} else if metadata != nil {
			sequence = current + 1
		}
	}
	d, packageID, err := c.approved(ctx, name, sequence)
	if err != nil {
		return nil, err
	}
	if d == nil {
		return nil, fmt.Errorf("could not fetch approved chaincode definition (name: '%s', sequence: '%d') on channel '%s'", name, sequence, c.channel.Name())
	}
	policy, err := proto.Marshal(d.Policy)
	if err != nil {
		return nil, err
	}
	return &lifecycle.QueryApprovedChaincodeDefinitionResult{
		Sequence: d.Sequence, Version: d.Version, EndorsementPlugin: ledger.EndorsementPlugin, ValidationPlugin: ledger.ValidationPlugin,
		ValidationParameter: policy, Collections: d.Collections, InitRequired: d.InitRequired, Source: sourceOf(packageID),
	}, nil
}

func (c *lifecycleCall) queryAllApproved(ctx context.Context, _ *lifecycle.QueryApprovedChaincodeDefinitionsArgs) (proto.Message, error) {
	start, end := ledger.DefinitionRange()
	rows, err := c.tx.PrivateRange(ctx, ledger.LifecycleNamespace, c.ownCollection(), start, end)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	answer := &lifecycle.QueryApprovedChaincodeDefinitionsResult{}
	for {
		row, more, err := rows.Next(ctx)
		if err != nil || !more {
			return answer, err
		}
		name, sequence, ok := ledger.ApprovalOf(row.Key)
		if !ok {
			continue
		}
		d, packageID, err := c.approved(ctx, name, sequence)
		if err != nil {
			return nil, err
		}
		policy, err := proto.Marshal(d.Policy)
		if err != nil {
			return nil, err
		}
		answer.ApprovedChaincodeDefinitions = append(answer.ApprovedChaincodeDefinitions, &lifecycle.QueryApprovedChaincodeDefinitionsResult_ApprovedChaincodeDefinition{
			Name: name, Sequence: d.Sequence, Version: d.Version, EndorsementPlugin: ledger.EndorsementPlugin, ValidationPlugin: ledger.ValidationPlugin,
			ValidationParameter: policy, Collections: d.Collections, InitRequired: d.InitRequired, Source: sourceOf(packageID),
		})
	}
}

// approved returns the endorser's organisation's approval, nil if there is none.
func (c *lifecycleCall) approved(ctx context.Context, name string, sequence int64) (*ledger.Definition, string, error) {
	own := c.own()
	return ledger.ParseApproval(name, sequence, func(key string) ([]byte, error) { return own.get(ctx, key) })
}

// sourceOf says where an organisation has a chaincode from. One without a package cannot be invoked at its peers.
func sourceOf(packageID string) *lifecycle.ChaincodeSource {
	if packageID == "" {
		return &lifecycle.ChaincodeSource{Type: &lifecycle.ChaincodeSource_Unavailable_{Unavailable: &lifecycle.ChaincodeSource_Unavailable{}}}
	}
	return &lifecycle.ChaincodeSource{Type: &lifecycle.ChaincodeSource_LocalPackage{LocalPackage: &lifecycle.ChaincodeSource_Local{PackageId: packageID}}}
}

// An installed package is one that runs chaincodes of the channel. What else the platform keeps is not the channel's business.
type installedPackage struct {
	id, label  string
	chaincodes []*ledger.Definition
}

func (c *lifecycleCall) installed(ctx context.Context) ([]*installedPackage, error) {
	names, err := c.definedNames(ctx)
	if err != nil {
		return nil, err
	}
	var all []*installedPackage
	byID := make(map[string]*installedPackage)
	for _, name := range names {
		d, err := c.defined(ctx, name)
		if err != nil {
			return nil, err
		}
		id, err := c.packageID(ctx, c.channel.Name(), name, c.mspID)
		if err != nil {
			return nil, err
		}
		if id == "" {
			continue
		}
		p := byID[id]
		if p == nil {
			label, _, _ := strings.Cut(id, ":")
			p = &installedPackage{id: id, label: label}
			byID[id], all = p, append(all, p)
		}
		p.chaincodes = append(p.chaincodes, d)
	}
	return all, nil
}

func (c *lifecycleCall) queryInstalled(ctx context.Context, in *lifecycle.QueryInstalledChaincodeArgs) (proto.Message, error) {
	all, err := c.installed(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range all {
		if p.id != in.GetPackageId() {
			continue
		}
		references := &lifecycle.QueryInstalledChaincodeResult_References{}
		for _, d := range p.chaincodes {
			references.Chaincodes = append(references.Chaincodes, &lifecycle.QueryInstalledChaincodeResult_Chaincode{Name: d.Name, Version: d.Version})
		}
		return &lifecycle.QueryInstalledChaincodeResult{PackageId: p.id, Label: p.label,
			References: map[string]*lifecycle.QueryInstalledChaincodeResult_References{c.channel.Name(): references}}, nil
	}
	return nil, &noPackage{in.GetPackageId()}
}

func (c *lifecycleCall) queryAllInstalled(ctx context.Context, _ *lifecycle.QueryInstalledChaincodesArgs) (proto.Message, error) {
	all, err := c.installed(ctx)
	if err != nil {
		return nil, err
	}
	answer := &lifecycle.QueryInstalledChaincodesResult{}
	for _, p := range all {
		references := &lifecycle.QueryInstalledChaincodesResult_References{}
		for _, d := range p.chaincodes {
			references.Chaincodes = append(references.Chaincodes, &lifecycle.QueryInstalledChaincodesResult_Chaincode{Name: d.Name, Version: d.Version})
		}
		answer.InstalledChaincodes = append(answer.InstalledChaincodes, &lifecycle.QueryInstalledChaincodesResult_InstalledChaincode{PackageId: p.id, Label: p.label,
			References: map[string]*lifecycle.QueryInstalledChaincodesResult_References{c.channel.Name(): references}})
	}
	return answer, nil
}
