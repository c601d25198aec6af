package gateway

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer/lifecycle"
	"google.golang.org/protobuf/proto"

	"peerless/shared/ledger"
	"peerless/shared/wire"
)

// An Approval is what an organisation of the channel agreed to at a sequence.
type Approval struct {
	MSPID    string
	Approved bool // exactly the definition beside which this stands
	// The newest of its approvals at the sequence; empty if there is none. The package is what the organisation says that it runs.
	PackageID     string
	TransactionID string
	Block         uint64

	version    ledger.Version
	definition *ledger.Definition
}

// An Approvals is a definition and who agrees to it, by MSP id.
type Approvals struct {
	Definition Definition
	By         []Approval
}

// Approvals returns who approved a chaincode's present definition, and what is to be the next, as the newest approval has it. Either is
// nil if there is none.
func (s *Service) Approvals(ctx context.Context, channelName, name string) (current, next *Approvals, err error) {
	channel, err := s.Channel(ctx, channelName)
	if err != nil {
		return nil, nil, err
	}
	view, err := channel.View(ctx)
	if err != nil {
		return nil, nil, storeError("", "channel "+channelName, err)
	}
	defer view.Close()
	current, next, err = approvalsOf(ctx, channel, view, name)
	if err != nil {
		return nil, nil, storeError("", "approvals of chaincode "+name, err)
	}
	return current, next, nil
}

func approvalsOf(ctx context.Context, channel *ledger.Channel, view ledger.View, name string) (current, next *Approvals, err error) {
	defined, err := ledger.ReadDefinition(ctx, view, name)
	if err != nil {
		return nil, nil, err
	}
	sequence, err := ledger.ReadSequence(ctx, view, name)
	if err != nil {
		return nil, nil, err
	}
	if defined != nil {
		if current, err = approvalsAt(ctx, channel, view, defined); err != nil {
			return nil, nil, err
		}
	}
	coming := &ledger.Definition{Name: name, Sequence: sequence + 1}
	if next, err = approvalsAt(ctx, channel, view, coming); err != nil {
		return nil, nil, err
	}
	newest := slices.MaxFunc(next.By, func(a, b Approval) int { return order(a.version, b.version) })
	if newest.definition == nil {
		return current, nil, nil
	}
	next, err = approvalsAt(ctx, channel, view, newest.definition)
	return current, next, err
}

// approvalsAt returns who approved d, and what each approved at its sequence.
func approvalsAt(ctx context.Context, channel *ledger.Channel, view ledger.View, d *ledger.Definition) (*Approvals, error) {
	found := &Approvals{Definition: definition(d)}
	for _, o := range channel.Config().Organizations {
		a, err := approvalAt(ctx, channel, view, o.MSPID, d)
		if err != nil {
			return nil, fmt.Errorf("approval by %s: %w", o.MSPID, err)
		}
		found.By = append(found.By, a)
	}
	return found, nil
}

func approvalAt(ctx context.Context, channel *ledger.Channel, view ledger.View, mspID string, d *ledger.Definition) (Approval, error) {
	a := Approval{MSPID: mspID}
	values, err := ledger.FormatApproval(d, "") // for the names of the keys
	if err != nil {
		return a, err
	}
	var hashes []string
	for key := range maps.Keys(values) {
		hash := sha256.Sum256([]byte(key))
		hashes = append(hashes, string(hash[:]))
	}
	items, err := view.Get(ctx, ledger.HashedNamespace(ledger.LifecycleNamespace, ledger.ApprovalCollection(mspID)), hashes)
	if err != nil {
		return a, err
	}
	for _, item := range items {
		if item != nil && order(item.Version, a.version) > 0 {
			a.version = item.Version
		}
	}
	if a.version == (ledger.Version{}) {
		return a, nil
	}
	if a.Approved, err = ledger.Approved(ctx, view, mspID, d, nil); err != nil {
		return a, err
	}
	block, err := channel.Block(ctx, a.version.Block)
	if err != nil {
		return a, err
	}
	tx, _ := wire.ParseEnvelope(block.GetData().GetData()[a.version.Tx])
	if tx == nil || len(tx.Args) < 2 {
		return a, ledger.ErrDamaged
	}
	a.TransactionID, a.Block = tx.TxID, a.version.Block
	// What it approved is in the request, also in that by which an only organisation approves and commits at once. One that cannot be
	// read any more, as by a policy that the channel does not have now, is not to come.
	var args definitionArgs
	if string(tx.Args[0]) == approveFunction {
		approval := &lifecycle.ApproveChaincodeDefinitionForMyOrgArgs{}
		err, args = proto.Unmarshal(tx.Args[1], approval), approval
		a.PackageID = approval.GetSource().GetLocalPackage().GetPackageId()
	} else {
		commit := &lifecycle.CommitChaincodeDefinitionArgs{}
		err, args = proto.Unmarshal(tx.Args[1], commit), commit
	}
	if err == nil {
		if approved, err := definitionIn(args, channel); err == nil {
			a.definition = approved
		}
	}
	return a, err
}

// order compares two versions.
func order(a, b ledger.Version) int {
	return cmp.Or(cmp.Compare(a.Block, b.Block), cmp.Compare(a.Tx, b.Tx))
}

// Awaited returns the chaincodes that organisations which keep their approvals here want to have defined, or defined anew, by name.
func (s *Service) Awaited(ctx context.Context, channelName string) ([]string, error) {
	channel, err := s.Channel(ctx, channelName)
	if err != nil {
		return nil, err
	}
	view, err := channel.View(ctx)
	if err != nil {
		return nil, storeError("", "channel "+channelName, err)
	}
	defer view.Close()
	names, sequences := make(map[string]bool), make(map[string]int64)
	for _, o := range channel.Config().Organizations {
		namespace := ledger.PrivateNamespace(ledger.LifecycleNamespace, ledger.ApprovalCollection(o.MSPID))
		const page = 1000
		start, end := ledger.DefinitionRange()
		for more := true; more; {
			rows, err := view.Range(ctx, namespace, start, end, page)
			if err != nil {
				return nil, storeError("", "approvals of "+o.MSPID, err)
			}
			for _, row := range rows {
				name, sequence, ok := ledger.ApprovalOf(row.Key)
				if !ok || names[name] {
					continue
				}
				now, known := sequences[name]
				if !known {
					if now, err = ledger.ReadSequence(ctx, view, name); err != nil {
						return nil, storeError("", "chaincode "+name, err)
					}
					sequences[name] = now
				}
				if sequence > now {
					names[name] = true
				}
			}
			if more = len(rows) == page; more {
				start = rows[page-1].Key + "\x00"
			}
		}
	}
	return slices.Sorted(maps.Keys(names)), nil
}
