package lambda_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"peerless/shared/chaincode"
	"peerless/shared/chaincode/lambda"
	"peerless/shared/conformance"
	"peerless/shared/conformance/local"
	"peerless/shared/ledger"
	"peerless/shared/store/mem"
)

func provider(c aws.Credentials) func(context.Context) (aws.Credentials, error) {
	return func(context.Context) (aws.Credentials, error) { return c, nil }
}

// byChannel is a chaincode on several channels: a function on each.
type byChannel map[string]*lambda.Host

func (b *byChannel) Execute(ctx context.Context, inv *chaincode.Invocation) (*chaincode.Result, error) {
	return (*b)[inv.Channel].Execute(ctx, inv)
}

func (b *byChannel) Close() error {
	var errs []error
	for _, host := range *b {
		errs = append(errs, host.Close())
	}
	return errors.Join(errs...)
}

// TestConformance: what a real Fabric network answered is what the probe answers as a function, over a store in DynamoDB, in both
// forms.
func TestConformance(t *testing.T) {
	t.Parallel()
	for _, form := range []string{"probe", "probe-wrapped"} {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			files, err := conformance.Files()
			if err != nil {
				t.Fatal(err)
			}
			scenarios, err := conformance.Scenarios(files)
			if err != nil {
				t.Fatal(err)
			}
			functionCode(t, form) // built before a clock runs
			cloud := newCloud(t)
			network, identities, err := local.Start(t.Context(), local.Config{Store: cloud.store, Host: func(name string) (chaincode.Host, error) {
				hosts := byChannel{}
				for _, defined := range conformance.Chaincodes {
					if defined.Name == name {
						hosts[defined.Channel] = cloud.deploy(form, defined.Channel, name)
					}
				}
				return &hosts, nil
			}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := network.Close(); err != nil {
					t.Error(err)
				}
				for _, channel := range []string{"alpha", "beta"} {
					if _, err := (&ledger.Audit{Store: cloud.store, Channel: channel, Scratch: mem.New(mem.Config{})}).Run(context.Background()); err != nil {
						t.Errorf("audit of %s: %v", channel, err)
					}
				}
			})
			conformance.Check(t, network, identities, scenarios, conformance.Options{
				Pause: func(context.Context, time.Duration) error { return nil },
			})
		})
	}
}
