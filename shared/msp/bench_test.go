package msp_test

import (
	"testing"

	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"

	"peerless/shared/msp"
)

func BenchmarkIdentifyKnown(b *testing.B) {
	manager := network(b)
	serialized := serialize(b, "Org1MSP", golden(b, "org1-user"))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := manager.Identify(serialized); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkIdentifyNew(b *testing.B) {
	one := mustNew(b, nodeOUs("Org1MSP", golden(b, "org1-ca")))
	serialized := serialize(b, "Org1MSP", golden(b, "org1-user"))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := one.Identify(serialized); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSatisfies(b *testing.B) {
	id, err := network(b).Identify(serialize(b, "Org1MSP", golden(b, "org1-peer")))
	if err != nil {
		b.Fatal(err)
	}
	principal := role(b, "Org1MSP", mspproto.MSPRole_PEER)
	b.ReportAllocs()
	for b.Loop() {
		if !id.Satisfies(principal) {
			b.Fatal("not satisfied")
		}
	}
}

func BenchmarkSignAndVerify(b *testing.B) {
	ca, _ := organisation(b)
	signer := issue(b, ca, msp.IssueRequest{CommonName: "user", Role: msp.RoleClient})
	message := make([]byte, 1000)
	signature, err := signer.Sign(message)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("sign", func(b *testing.B) {
		for b.Loop() {
			if _, err := signer.Sign(message); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("verify", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := signer.Verify(message, signature); err != nil {
				b.Fatal(err)
			}
		}
	})
}
