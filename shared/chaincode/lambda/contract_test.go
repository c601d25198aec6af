package lambda_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"peerless/shared/awstest"
	"peerless/shared/chaincode"
	"peerless/shared/chaincode/lambda"
	"peerless/shared/channelconfig"
	"peerless/shared/gateway"
	"peerless/shared/ledger"
	"peerless/shared/organization"
	"peerless/shared/store/mem"
)

// hosts runs every chaincode in one host.
type hosts struct{ host chaincode.Host }

func (h hosts) Host(context.Context, string, string, string) (chaincode.Host, error) {
	return h.host, nil
}

// TestContract: a contract made with fabric-contract-api-go, in each form, behind a gateway: it is submitted to, evaluated, answers
// with its own errors, and loses no update of one key to others, which are simulated again over the block being cut.
func TestContract(t *testing.T) {
	t.Parallel()
	functionCode(t, "asset")
	for name, mode := range map[string]string{"asset": "", "asset-wrapped": "dial", "asset-wrapped-serving": "serve"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			form := "asset"
			if mode != "" {
				form = "asset-program"
			}
			c := newCloud(t)
			function := c.deploy(form, "main", "assets", func(f *awstest.Function, config *lambda.Config) {
				f.Environment["PEERLESS_MODE"] = mode
				if mode != "" {
					f.Layers = []string{functionCode(t, "layer")}
				}
			})
			organizations, err := organization.Open(t.Context(), organization.Config{})
			must := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			must(err)
			own, err := organizations.Organization("Org1MSP")
			must(err)
			orderer, err := organizations.Orderer()
			must(err)
			channels, err := ledger.Open(ledger.Config{Store: c.store, Signer: orderer.Orderer(), RerunBudget: 10 * time.Second})
			must(err)
			service, err := gateway.New(gateway.Config{Ledger: channels, Chaincodes: hosts{function}, Organizations: organizations})
			must(err)
			genesis, err := channelconfig.Genesis(channelconfig.Spec{
				Channel: "main", Organizations: []channelconfig.Organization{{MSPID: "Org1MSP", MSP: own.MSPConfig()}},
				Orderer: channelconfig.Organization{MSPID: organization.OrdererMSP, MSP: orderer.MSPConfig()},
			}, time.Now())
			must(err)
			user, err := own.User("alice", nil)
			must(err)
			must(service.CreateChannel(t.Context(), genesis))
			_, err = service.Define(t.Context(), "main", user, gateway.Definition{Name: "assets", Version: "1"})
			must(err)
			request := func(function string, args ...string) gateway.Request {
				r := gateway.Request{Channel: "main", Chaincode: "assets", Function: function, User: user}
				for _, a := range args {
					r.Args = append(r.Args, []byte(a))
				}
				return r
			}

			_, err = service.SubmitTransaction(t.Context(), request("CreateAsset", "a1", "blue", "5", "ann", "300"))
			must(err)
			var wg sync.WaitGroup
			for i := range 6 {
				wg.Go(func() {
					if _, err := service.SubmitTransaction(t.Context(), request("TransferAsset", "a1", fmt.Sprint("owner", i))); err != nil {
						t.Errorf("transfer: %v", err)
					}
				})
			}
			wg.Wait()
			answer, err := service.EvaluateTransaction(t.Context(), request("ReadAsset", "a1"))
			must(err)
			var asset struct{ ID, Owner string }
			if err := json.Unmarshal(answer.Response.Payload, &asset); err != nil || asset.ID != "a1" || len(asset.Owner) != len("owner0") {
				t.Errorf("asset %s, %v", answer.Response.Payload, err)
			}
			channel, err := channels.Channel(t.Context(), "main")
			must(err)
			view, err := channel.View(t.Context())
			must(err)
			changes, err := view.History(t.Context(), "assets", "a1", ledger.Version{}, 100)
			view.Close()
			if err != nil || len(changes) != 7 {
				t.Errorf("%d changes in the asset's history, want 7: %v", len(changes), err)
			}
			if _, err = service.EvaluateTransaction(t.Context(), request("ReadAsset", "nobody")); err == nil {
				t.Error("an asset that is not there was read")
			}
			must(channels.Close())
			if _, err := (&ledger.Audit{Store: c.store, Channel: "main", Scratch: mem.New(mem.Config{})}).Run(context.Background()); err != nil {
				t.Errorf("audit: %v", err)
			}
		})
	}
}
