package function

import (
	"context"
	"errors"
	"fmt"
	"io"

	"peerless/shared/api"
	"peerless/shared/chaincode"
	"peerless/shared/collection"
	"peerless/shared/gateway"
	"peerless/shared/msp"
)

// Language is what the API shows of a chaincode that runs as a function.
const Language = "function"

// A Deployer binds functions to chaincodes and defines these on their channels, as the API asks for it.
type Deployer struct {
	Functions *Manager
	Gateway   *gateway.Service
	// Operator returns who signs the definitions of a channel that the platform's operator asks for. Nil: the operator itself.
	Operator func(ctx context.Context, channel string) (*msp.Signer, error)
}

var _ api.Deployer = (*Deployer)(nil)

// Deploy binds the function that the spec names, defines the chaincode and, if that is refused, binds what was bound before.
func (d *Deployer) Deploy(ctx context.Context, by *api.Principal, channel string, spec api.DeploySpec, pkg io.Reader) (*api.Chaincode, error) {
	if _, err := d.Gateway.Channel(ctx, channel); err != nil {
		return nil, err
	}
	if spec.Function.Name == "" {
		return nil, invalid("", "this platform runs contracts as Lambda functions: peerless deploy --stack makes one and deploys it")
	}
	if spec.Version == "" {
		spec.Version = spec.Function.Qualifier
	}
	definition, err := define(spec)
	if err != nil {
		return nil, err
	}
	organizations, err := by.Approves(spec.Organization)
	if err != nil {
		return nil, err
	}
	creator, err := d.creator(ctx, by, channel)
	if err != nil {
		return nil, err
	}
	before, missing := d.Functions.Binding(ctx, channel, spec.Name)
	if missing != nil && !errors.Is(missing, ErrNotFound) {
		return nil, missing
	}
	binding := Binding{Function: spec.Function.Name, Qualifier: spec.Function.Qualifier, PackageID: spec.Function.PackageID}
	if before != binding {
		if err := d.Functions.Bind(ctx, channel, spec.Name, binding); err != nil {
			return nil, bindError(err)
		}
	}
	defined, err := d.Gateway.Agree(ctx, channel, creator, gateway.Agreement{Definition: definition, Organizations: organizations})
	if err == nil {
		return d.Chaincode(ctx, channel, defined.Name)
	}
	if before != binding { // what awaits approvals keeps a first binding, for the definition that is to come
		undo := context.WithoutCancel(ctx)
		if missing != nil && errors.As(err, new(*gateway.PendingError)) {
			return nil, err
		}
		if missing != nil {
			err = errors.Join(err, d.Functions.Unbind(undo, channel, spec.Name))
		} else {
			err = errors.Join(err, d.Functions.Bind(undo, channel, spec.Name, before))
		}
	}
	return nil, err
}

// creator signs the definitions that a principal asks for.
func (d *Deployer) creator(ctx context.Context, by *api.Principal, channel string) (*msp.Signer, error) {
	if by.Operator && d.Operator != nil {
		return d.Operator(ctx, channel)
	}
	return by.Signer()
}

// Remove takes the definition back, and then the binding. The function stays, for who made it to delete.
func (d *Deployer) Remove(ctx context.Context, by *api.Principal, channel, name string) error {
	creator, err := d.creator(ctx, by, channel)
	if err != nil {
		return err
	}
	if err := d.Gateway.Undefine(ctx, channel, creator, name); err != nil {
		return err
	}
	if err := d.Functions.Unbind(ctx, channel, name); err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	return nil
}

// Approve implements api.Deployer.
func (d *Deployer) Approve(ctx context.Context, by *api.Principal, channel string, spec api.DeploySpec) error {
	organizations, err := by.Approves(spec.Organization)
	if err != nil {
		return err
	}
	agreement, err := spec.Approval(organizations)
	if err != nil {
		return err
	}
	creator, err := d.creator(ctx, by, channel)
	if err != nil {
		return err
	}
	_, err = d.Gateway.Agree(ctx, channel, creator, agreement)
	return err
}

// Chaincodes implements api.Deployer.
func (d *Deployer) Chaincodes(ctx context.Context, channel string) ([]api.Chaincode, error) {
	return api.DescribeAll(ctx, d.Gateway, channel, func(definition gateway.Definition) (*api.Chaincode, error) { return d.shown(ctx, channel, definition) })
}

// Chaincode implements api.Deployer.
func (d *Deployer) Chaincode(ctx context.Context, channel, name string) (*api.Chaincode, error) {
	return api.Describe(ctx, d.Gateway, channel, name, func(definition gateway.Definition) (*api.Chaincode, error) { return d.shown(ctx, channel, definition) })
}

func (d *Deployer) shown(ctx context.Context, channel string, definition gateway.Definition) (*api.Chaincode, error) {
	binding, err := d.Functions.Binding(ctx, channel, definition.Name)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	return show(definition, binding)
}

func invalid(field, format string, args ...any) error {
	return &api.Problem{Code: api.CodeInvalidRequest, Field: field, Detail: fmt.Sprintf(format, args...)}
}

func bindError(err error) error {
	switch {
	case errors.Is(err, ErrForeign):
		return invalid("function", "%v", err)
	case errors.Is(err, chaincode.ErrUnavailable), errors.Is(err, chaincode.ErrCrashed), errors.Is(err, chaincode.ErrTimeout):
		return &gateway.Error{Kind: gateway.ChaincodeUnavailable, Message: err.Error(), Cause: err}
	}
	return err
}

// define reads a spec.
func define(spec api.DeploySpec) (gateway.Definition, error) {
	d := gateway.Definition{Name: spec.Name, Version: spec.Version, Policy: spec.Policy, Sequence: spec.Sequence, InitRequired: spec.InitRequired, Indexes: spec.Indexes}
	var err error
	if d.Collections, err = collection.Parse([]byte(spec.Collections)); err != nil {
		return d, invalid("collections", "%v", err)
	}
	return d, nil
}

// show joins what a channel defines with what runs it, which may be nothing.
func show(d gateway.Definition, binding Binding) (*api.Chaincode, error) {
	c := &api.Chaincode{Name: d.Name, Version: d.Version, Sequence: d.Sequence, Policy: d.Policy, InitRequired: d.InitRequired, PackageID: binding.PackageID}
	if binding.Function != "" {
		c.Language = Language
	}
	var err error
	if c.Collections, err = collection.Format(d.Collections); err != nil {
		return nil, err
	}
	return c, nil
}

func bindingID(channel, name string) string { return channel + "/" + name }
