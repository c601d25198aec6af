package ledger_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"testing"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/channelconfig"
	"peerless/shared/ledger"
	"peerless/shared/msp"
	"peerless/shared/policy"
	"peerless/shared/store/mem"
	"peerless/shared/wire"
)

// A fixture is a ledger with one channel, "test", of two organisations, on which the chaincode "cc" is defined.
type fixture struct {
	t       *testing.T
	store   *mem.Store
	ledger  *ledger.Ledger
	channel *ledger.Channel
	users   map[string]*msp.Signer // by MSP id
	peers   map[string]*msp.Signer
	orderer *msp.Signer
	genesis *common.Block
}

func newFixture(t *testing.T, config mem.Config) *fixture {
	t.Helper()
	f := &fixture{t: t, store: mem.New(config), users: map[string]*msp.Signer{}, peers: map[string]*msp.Signer{}}
	spec := channelconfig.Spec{Channel: "test"}
	for _, id := range []string{"Org1MSP", "Org2MSP"} {
		ca := f.ca(id)
		f.users[id], f.peers[id] = f.issue(ca, id, "client"), f.issue(ca, id, "peer")
		spec.Organizations = append(spec.Organizations, channelconfig.Organization{MSPID: id, MSP: ca.Config()})
	}
	ca := f.ca("OrdererMSP")
	f.orderer = f.issue(ca, "OrdererMSP", "orderer")
	spec.Orderer = channelconfig.Organization{MSPID: "OrdererMSP", MSP: ca.Config()}
	genesis, err := channelconfig.Genesis(spec, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	f.genesis = genesis
	f.open(ledger.Config{})
	if err := f.ledger.Create(t.Context(), genesis); err != nil {
		t.Fatal(err)
	}
	if f.channel, err = f.ledger.Channel(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	f.define("cc", "OR('Org1MSP.peer','Org2MSP.peer')", 1)
	t.Cleanup(f.audit)
	return f
}

// checkpointKey signs the fixtures' checkpoints.
var checkpointKey = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))

func (f *fixture) open(config ledger.Config) {
	f.t.Helper()
	config.Store, config.Signer, config.CheckpointKey = f.store, f.orderer, checkpointKey
	var err error
	if f.ledger, err = ledger.Open(config); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) ca(id string) *msp.CA {
	f.t.Helper()
	ca, err := msp.NewCA(id)
	if err != nil {
		f.t.Fatal(err)
	}
	return ca
}

func (f *fixture) issue(ca *msp.CA, mspID, role string) *msp.Signer {
	f.t.Helper()
	cert, key, err := ca.Issue(msp.IssueRequest{CommonName: role + "@" + mspID, Role: role})
	if err != nil {
		f.t.Fatal(err)
	}
	signer, err := msp.NewSigner(mspID, cert, key)
	if err != nil {
		f.t.Fatal(err)
	}
	return signer
}

// audit ends every test: whatever happened, chain and state must hold.
func (f *fixture) audit() {
	if err := f.ledger.Close(); err != nil {
		f.t.Errorf("close ledger: %v", err)
	}
	audit := ledger.Audit{Store: f.store, Channel: "test", Scratch: mem.New(mem.Config{})}
	if _, err := audit.Run(context.Background()); err != nil {
		f.t.Errorf("audit: %v", err)
	}
}

// define commits a definition, endorsed by both organisations.
func (f *fixture) define(name, dsl string, sequence int64) {
	f.t.Helper()
	envelope, err := policy.Parse(dsl)
	if err != nil {
		f.t.Fatal(err)
	}
	writes, err := ledger.FormatDefinition(&ledger.Definition{Name: name, Version: "1", Sequence: sequence,
		Policy: &peer.ApplicationPolicy{Type: &peer.ApplicationPolicy_SignaturePolicy{SignaturePolicy: envelope}}})
	if err != nil {
		f.t.Fatal(err)
	}
	set := &kvrwset.KVRWSet{}
	for key, value := range writes {
		set.Writes = append(set.Writes, &kvrwset.KVWrite{Key: key, Value: value})
	}
	s := f.sign(transaction{chaincode: ledger.LifecycleNamespace, endorsers: []string{"Org1MSP", "Org2MSP"}, set: rwset(ledger.LifecycleNamespace, set)})
	if v := f.submit(s); v.Code != peer.TxValidationCode_VALID {
		f.t.Fatalf("define %s: %s", name, v.Code)
	}
}

func rwset(namespace string, kv *kvrwset.KVRWSet) *wire.RWSet {
	return &wire.RWSet{Namespaces: []wire.NamespaceSet{{Namespace: namespace, KV: kv}}}
}

// A transaction is what a test says of one.
type transaction struct {
	chaincode string   // default cc
	channel   string   // default test
	endorsers []string // default Org1MSP
	user      string   // default Org1MSP
	nonce     []byte   // default random
	set       *wire.RWSet
}

// sign makes a submission as a client of Fabric's gateway would.
func (f *fixture) sign(tx transaction) *ledger.Submission {
	f.t.Helper()
	if tx.chaincode == "" {
		tx.chaincode = "cc"
	}
	if tx.channel == "" {
		tx.channel = "test"
	}
	if tx.endorsers == nil {
		tx.endorsers = []string{"Org1MSP"}
	}
	if tx.user == "" {
		tx.user = "Org1MSP"
	}
	if tx.nonce == nil {
		tx.nonce = make([]byte, 24)
		if _, err := rand.Read(tx.nonce); err != nil {
			f.t.Fatal(err)
		}
	}
	user := f.users[tx.user]
	p, err := wire.NewProposal(wire.ProposalSpec{Channel: tx.channel, Chaincode: tx.chaincode, Args: [][]byte{[]byte("f")},
		Creator: user.Serialized, Nonce: tx.nonce, Timestamp: time.Unix(1_700_000_000, 0)})
	if err != nil {
		f.t.Fatal(err)
	}
	results, err := tx.set.Marshal()
	if err != nil {
		f.t.Fatal(err)
	}
	payload, err := wire.NewProposalResponsePayload(p.Hash(), results, nil, &peer.Response{Status: 200}, &peer.ChaincodeID{Name: tx.chaincode, Version: "1"})
	if err != nil {
		f.t.Fatal(err)
	}
	var endorsements []*peer.Endorsement
	for _, id := range tx.endorsers {
		signer := f.peers[id]
		signature, err := signer.Sign(wire.EndorsedMessage(payload, signer.Serialized))
		if err != nil {
			f.t.Fatal(err)
		}
		endorsements = append(endorsements, &peer.Endorsement{Endorser: signer.Serialized, Signature: signature})
	}
	envelope, err := wire.NewTransactionPayload(p, payload, endorsements)
	if err != nil {
		f.t.Fatal(err)
	}
	signature, err := user.Sign(envelope)
	if err != nil {
		f.t.Fatal(err)
	}
	return &ledger.Submission{Envelope: wire.NewEnvelope(envelope, signature)}
}

func (f *fixture) submit(s *ledger.Submission) ledger.Verdict {
	f.t.Helper()
	v, err := f.channel.Submit(f.t.Context(), s)
	if err != nil {
		f.t.Fatalf("submit: %v", err)
	}
	return v
}
