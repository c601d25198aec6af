package policy_test

import (
	"errors"
	"testing"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"google.golang.org/protobuf/proto"

	"peerless/shared/policy"
)

func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"OR('Org1MSP.peer', 'Org2MSP.peer')", "AND('A.member', OR(\"B.admin\", 'C.client'))", "OutOf('2', 'A.peer', outof(0, 'B.orderer'))", "OR(", "",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		envelope, err := policy.Parse(text)
		if err != nil {
			if !errors.Is(err, policy.ErrSyntax) {
				t.Fatal(err)
			}
			return
		}
		again, err := policy.Parse(policy.Format(envelope))
		if err != nil {
			t.Fatalf("%s became %s: %v", text, policy.Format(envelope), err)
		}
		if !proto.Equal(again, envelope) {
			t.Fatalf("%s became %s", text, policy.Format(envelope))
		}
	})
}

// A policy comes from a client: whatever it is, it can be shown, evaluated and planned for.
func FuzzMessage(f *testing.F) {
	for _, text := range []string{"OR('A.peer', 'B.peer')", "OutOf(2, 'A.peer', AND('B.member', 'C.peer'), 'C.peer')"} {
		raw, err := proto.Marshal(mustParse(f, text))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		envelope := &common.SignaturePolicyEnvelope{}
		if proto.Unmarshal(raw, envelope) != nil {
			return
		}
		policy.Format(envelope)
		policy.Satisfied(envelope, nil)
	})
}
