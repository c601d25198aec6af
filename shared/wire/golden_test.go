package wire_test

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"google.golang.org/protobuf/proto"

	"peerless/shared/wire"
)

const goldenDir = "../../testdata/conformance/wire"

// The manifest's facts were computed from the bytes, apart from Fabric's code and from ours.
type manifest struct {
	Blocks   []blockFacts   `json:"blocks"`
	Messages []messageFacts `json:"messages"`
}

type blockFacts struct {
	File         string   `json:"file"`
	Channel      string   `json:"channel"`
	Number       uint64   `json:"number"`
	DataHash     hexBytes `json:"dataHash"`
	HeaderASN1   hexBytes `json:"headerAsn1"`
	HeaderHash   hexBytes `json:"headerHash"`
	PreviousHash hexBytes `json:"previousHash"`
	Metadata     struct {
		CommitHash hexBytes `json:"commitHash"`
		Entries    int      `json:"entries"`
		LastConfig uint64   `json:"lastConfig"`
		Codes      []string `json:"validationCodes"`
		Signatures []struct {
			Nonce hexBytes `json:"nonce"`
		} `json:"signatures"`
	} `json:"metadata"`
	Transactions []txFacts `json:"transactions"`
}

type messageFacts struct {
	File  string  `json:"file"`
	Facts txFacts `json:"facts"`
}

type txFacts struct {
	Channel      string            `json:"channel"`
	Type         string            `json:"type"`
	TxID         string            `json:"txId"`
	Nonce        hexBytes          `json:"nonce"`
	Epoch        uint64            `json:"epoch"`
	Timestamp    time.Time         `json:"timestamp"`
	Code         string            `json:"validationCode"`
	Chaincode    string            `json:"chaincode"`
	Args         []factBytes       `json:"args"`
	ProposalHash hexBytes          `json:"proposalHash"`
	Transient    map[string]string `json:"transient"`
	Action       struct {
		ProposalHash hexBytes `json:"proposalHash"`
		Chaincode    struct {
			Name    string `json:"name"`
			Version string `json:"version"`
		} `json:"chaincode"`
		Event *struct {
			Chaincode string `json:"chaincode"`
			Name      string `json:"name"`
			TxID      string `json:"txId"`
		} `json:"event"`
		RWSet []struct {
			Namespace   string `json:"namespace"`
			Collections []struct {
				Name        string   `json:"collection"`
				PrivateHash hexBytes `json:"privateRwsetHash"`
			} `json:"collections"`
			Reads  []any `json:"reads"`
			Writes []any `json:"writes"`
		} `json:"readWriteSet"`
		Response struct {
			Status  int32  `json:"status"`
			Message string `json:"message"`
		} `json:"response"`
	} `json:"action"`
	Endorsements []struct {
		Signature hexBytes `json:"signature"`
	} `json:"endorsements"`
}

type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

// factBytes is text, or {"base64": …}.
type factBytes []byte

func (b *factBytes) UnmarshalJSON(raw []byte) error {
	var object struct {
		Base64 []byte `json:"base64"`
	}
	if json.Unmarshal(raw, &object) == nil {
		*b = object.Base64
		return nil
	}
	var text string
	err := json.Unmarshal(raw, &text)
	*b = factBytes(text)
	return err
}

func golden(t testing.TB) *manifest {
	t.Helper()
	m := &manifest{}
	if err := json.Unmarshal(goldenFile(t, "manifest.json"), m); err != nil {
		t.Fatal(err)
	}
	return m
}

func goldenFile(t testing.TB, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(goldenDir, name))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func goldenBlock(t testing.TB, name string) *common.Block {
	t.Helper()
	b, err := wire.ParseBlock(goldenFile(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func goldenMessage[M proto.Message](t testing.TB, name string, into M) M {
	t.Helper()
	if err := proto.Unmarshal(goldenFile(t, "messages/"+name), into); err != nil {
		t.Fatal(err)
	}
	return into
}

func (m *manifest) message(t testing.TB, name string) txFacts {
	t.Helper()
	for _, f := range m.Messages {
		if f.File == "messages/"+name {
			return f.Facts
		}
	}
	t.Fatalf("no facts of %s", name)
	return txFacts{}
}
