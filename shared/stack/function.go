package stack

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// How a contract's function is set up.
const (
	// DefaultMemory in MB: Lambda gives CPU by memory, a vCPU at 1,769 MB; a contract takes some 30 MB itself.
	DefaultMemory = 256
	// timeout is the contract's time (25 s, gateway.ChaincodeTime) and what the adapter needs around it, in seconds.
	timeout = 27
	// patience is how long a function may take until it is ready. Lambda needs some seconds.
	patience = 5 * time.Minute
)

// Live is the alias that shows which version runs.
const Live = "live"

// A Contract is what is to run in a function.
type Contract struct {
	Channel, Chaincode string
	Zip                []byte // see deploy.PackFunction
	Handler            string // what the adapter starts, or bootstrap: see deploy.ParseFunction
	Adapter            bool   // the zip has a bootstrap of its own: no layer is attached
	Memory             int32  // in MB; 0: DefaultMemory
}

// A Registration is a function that is ready to be invoked.
type Registration struct {
	Function  string `json:"function"`
	Alias     string `json:"alias"`   // of the version that holds the contract
	Version   string `json:"version"` // Lambda's number
	Unchanged bool   `json:"unchanged"`
}

// Stack registers contracts.
type Stack struct {
	Outputs
	Name   string
	client *lambda.Client
	// Progress is told what is being done, in a few words. May be nil.
	Progress func(string)
	// minDelay between two looks at a function that is not ready; 0: the SDK's.
	minDelay time.Duration
}

// Open reads a stack's outputs.
func Open(ctx context.Context, config aws.Config, name string) (*Stack, error) {
	if err := CheckRegion(config); err != nil {
		return nil, err
	}
	outputs, err := ReadOutputs(ctx, config, name)
	if err != nil {
		return nil, err
	}
	return &Stack{Outputs: *outputs, Name: name, client: lambda.NewFromConfig(config)}, nil
}

// Register makes or updates the contract's function, publishes what it now is, and returns when that can be invoked. Registering
// what was registered before changes nothing. Nothing that runs is changed: the platform goes on with the alias that it has.
func (s *Stack) Register(ctx context.Context, c Contract) (*Registration, error) {
	if len(c.Zip) > MaxZip {
		return nil, tooLarge("register the function", len(c.Zip))
	}
	name, err := FunctionName(s.Prefix, c.Channel, c.Chaincode)
	if err != nil {
		return nil, err
	}
	r := &registration{Stack: s, name: name, contract: c, configuration: s.configuration(c)}
	r.alias = r.fingerprint()
	return r.run(ctx)
}

// Show makes the alias "live" that of a registration, for people. It does nothing if it is that already.
func (s *Stack) Show(ctx context.Context, r *Registration) error {
	now, err := s.client.GetAlias(ctx, &lambda.GetAliasInput{FunctionName: &r.Function, Name: aws.String(Live)})
	var missing *types.ResourceNotFoundException
	switch {
	case errors.As(err, &missing):
		_, err = s.client.CreateAlias(ctx, &lambda.CreateAliasInput{FunctionName: &r.Function, Name: aws.String(Live), FunctionVersion: &r.Version})
	case err == nil && aws.ToString(now.FunctionVersion) != r.Version:
		_, err = s.client.UpdateAlias(ctx, &lambda.UpdateAliasInput{FunctionName: &r.Function, Name: aws.String(Live), FunctionVersion: &r.Version})
	}
	if err != nil {
		return explain("move the alias "+Live+" of "+r.Function, err)
	}
	return nil
}

// Remove deletes the function of a chaincode, with all its versions. There may be none.
func (s *Stack) Remove(ctx context.Context, channel, chaincode string) error {
	name, err := FunctionName(s.Prefix, channel, chaincode)
	if err != nil {
		return err
	}
	_, err = s.client.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: &name})
	var missing *types.ResourceNotFoundException
	if err != nil && !errors.As(err, &missing) {
		return explain("delete the function "+name, err)
	}
	return nil
}

// configuration is all of a function but its code. It is made of JSON's types, so that it has a fingerprint.
type configuration struct {
	Role, LogGroup, Architecture string
	Handler                      string
	Layers                       []string
	Memory, Timeout              int32
	Environment                  map[string]string
}

func (s *Stack) configuration(c Contract) configuration {
	conf := configuration{
		Role: s.Role, LogGroup: s.LogGroup, Architecture: s.Architecture, Handler: c.Handler, Memory: c.Memory, Timeout: timeout, Layers: []string{},
		Environment: map[string]string{"PEERLESS_CHANNEL": c.Channel, "PEERLESS_CHAINCODE": c.Chaincode},
	}
	if conf.Memory == 0 {
		conf.Memory = DefaultMemory
	}
	if !c.Adapter {
		conf.Layers = []string{s.Layer}
	}
	return conf
}

func (c configuration) logging() *types.LoggingConfig {
	l := &types.LoggingConfig{LogFormat: types.LogFormatJson}
	if c.LogGroup != "" {
		l.LogGroup = &c.LogGroup
	}
	return l
}

// registration is one under way.
type registration struct {
	*Stack
	name, alias   string
	contract      Contract
	configuration configuration
}

// fingerprint names all that makes the function what it is.
func (r *registration) fingerprint() string {
	described, err := json.Marshal(r.configuration)
	if err != nil {
		panic(err) // strings and numbers
	}
	h := sha256.New()
	h.Write(r.contract.Zip)
	h.Write(described)
	return "p-" + hex.EncodeToString(h.Sum(nil))[:16]
}

func (r *registration) say(what string) {
	if r.Progress != nil {
		r.Progress(what)
	}
}

func (r *registration) run(ctx context.Context) (*Registration, error) {
	known, err := r.client.GetAlias(ctx, &lambda.GetAliasInput{FunctionName: &r.name, Name: &r.alias})
	var missing *types.ResourceNotFoundException
	if err == nil {
		version := aws.ToString(known.FunctionVersion)
		return &Registration{Function: r.name, Alias: r.alias, Version: version, Unchanged: true}, r.awaitVersion(ctx, version)
	}
	if !errors.As(err, &missing) {
		return nil, explain("look for the function "+r.name, err)
	}
	if err := r.put(ctx); err != nil {
		return nil, err
	}
	version, err := r.publish(ctx)
	if err != nil {
		return nil, err
	}
	return &Registration{Function: r.name, Alias: r.alias, Version: version}, nil
}

// put makes the function, or brings code and configuration up to date.
func (r *registration) put(ctx context.Context) error {
	_, err := r.client.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: &r.name})
	var missing *types.ResourceNotFoundException
	switch {
	case errors.As(err, &missing):
		return r.create(ctx)
	case err != nil:
		return explain("look at the function "+r.name, err)
	}
	// An update that another process left half done is waited for: Lambda refuses a second one until then.
	if err := r.awaitUpdate(ctx); err != nil {
		return err
	}
	r.say("updating " + r.name)
	_, err = r.client.UpdateFunctionCode(ctx, &lambda.UpdateFunctionCodeInput{
		FunctionName: &r.name, ZipFile: r.contract.Zip, Architectures: []types.Architecture{types.Architecture(r.configuration.Architecture)},
	})
	if err != nil {
		return explain("update the code of "+r.name, err)
	}
	if err := r.awaitUpdate(ctx); err != nil {
		return err
	}
	c := r.configuration
	_, err = r.client.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{
		FunctionName: &r.name, Role: &c.Role, Runtime: types.RuntimeProvidedal2023, Handler: &c.Handler, Layers: c.Layers,
		MemorySize: &c.Memory, Timeout: &c.Timeout, Environment: &types.Environment{Variables: c.Environment}, LoggingConfig: c.logging(),
	})
	if err != nil {
		return explain("update the configuration of "+r.name, err)
	}
	return r.awaitUpdate(ctx)
}

func (r *registration) create(ctx context.Context) error {
	r.say("creating " + r.name)
	c := r.configuration
	_, err := r.client.CreateFunction(ctx, &lambda.CreateFunctionInput{
		FunctionName: &r.name, Role: &c.Role, Code: &types.FunctionCode{ZipFile: r.contract.Zip}, PackageType: types.PackageTypeZip,
		Runtime: types.RuntimeProvidedal2023, Handler: &c.Handler, Architectures: []types.Architecture{types.Architecture(c.Architecture)},
		Layers: c.Layers, MemorySize: &c.Memory, Timeout: &c.Timeout, Environment: &types.Environment{Variables: c.Environment}, LoggingConfig: c.logging(),
		Description: aws.String(fmt.Sprintf("Peerless: chaincode %s of channel %s", r.contract.Chaincode, r.contract.Channel)),
		Tags:        map[string]string{"peerless:stack": r.Name, "peerless:channel": r.contract.Channel, "peerless:chaincode": r.contract.Chaincode},
	})
	if err != nil {
		return explain("create the function "+r.name, err)
	}
	waiter := lambda.NewFunctionActiveV2Waiter(r.client, func(o *lambda.FunctionActiveV2WaiterOptions) { r.delay(&o.MinDelay, &o.MaxDelay) })
	return r.waited("become active", waiter.Wait(ctx, &lambda.GetFunctionInput{FunctionName: &r.name}, patience))
}

// publish makes a version of the function as it is, if that is what was put, and gives it its alias.
func (r *registration) publish(ctx context.Context) (version string, err error) {
	r.say("publishing " + r.name)
	sum := sha256.Sum256(r.contract.Zip)
	published, err := r.client.PublishVersion(ctx, &lambda.PublishVersionInput{
		FunctionName: &r.name, CodeSha256: aws.String(base64.StdEncoding.EncodeToString(sum[:])), Description: &r.alias,
	})
	if err != nil {
		return "", explain("publish a version of "+r.name, err)
	}
	version = aws.ToString(published.Version)
	if err := r.awaitVersion(ctx, version); err != nil {
		return "", err
	}
	_, err = r.client.CreateAlias(ctx, &lambda.CreateAliasInput{FunctionName: &r.name, Name: &r.alias, FunctionVersion: &version})
	var exists *types.ResourceConflictException
	if err != nil && !errors.As(err, &exists) { // then the same was deployed at the same time
		return "", explain("make the alias "+r.alias+" of "+r.name, err)
	}
	return version, nil
}

func (r *registration) awaitUpdate(ctx context.Context) error {
	waiter := lambda.NewFunctionUpdatedV2Waiter(r.client, func(o *lambda.FunctionUpdatedV2WaiterOptions) { r.delay(&o.MinDelay, &o.MaxDelay) })
	return r.waited("be updated", waiter.Wait(ctx, &lambda.GetFunctionInput{FunctionName: &r.name}, patience))
}

func (r *registration) awaitVersion(ctx context.Context, version string) error {
	waiter := lambda.NewPublishedVersionActiveWaiter(r.client, func(o *lambda.PublishedVersionActiveWaiterOptions) { r.delay(&o.MinDelay, &o.MaxDelay) })
	return r.waited("publish version "+version, waiter.Wait(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &r.name, Qualifier: &version}, patience))
}

// delay shortens the pauses of a waiter, in tests.
func (r *registration) delay(least, most *time.Duration) {
	if r.minDelay > 0 {
		*least, *most = r.minDelay, r.minDelay
	}
}

// waited says what was waited for in vain, and what Lambda gives as the reason.
func (r *registration) waited(what string, err error) error {
	if err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	now, look := r.client.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &r.name})
	if look == nil {
		for _, reason := range []*string{now.StateReason, now.LastUpdateStatusReason} {
			if aws.ToString(reason) != "" {
				return &SettingError{"function", fmt.Sprintf("the function %s does not %s: %s", r.name, what, *reason), err}
			}
		}
	}
	return explain(fmt.Sprintf("wait for the function %s to %s", r.name, what), err)
}
