package gateway

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"

	"peerless/shared/ledger"
)

// initializedKey is the key of a chaincode's state that holds the version for which it was initialised, where its definition
// requires that: InitializedKeyName of Fabric's core/chaincode. No range begins before it.
const initializedKey = "\x00" + string(utf8.MaxRune) + "initialized"

// errInvocation: the chaincode cannot be called, or not like this.
var errInvocation = errors.New("invalid invocation")

// initialize checks a call against what the chaincode's definition says of Init, and records an initialisation: Fabric's
// core/chaincode, ChaincodeSupport.CheckInvocation.
func (r *run) initialize(ctx context.Context, d *ledger.Definition, isInit bool) error {
	if !d.InitRequired {
		if isInit {
			return fmt.Errorf("%w: chaincode '%s' does not require initialization but called as init", errInvocation, d.Name)
		}
		return nil
	}
	version, err := r.tx.GetState(ctx, d.Name, initializedKey)
	if err != nil {
		return fmt.Errorf("could not get 'initialized' key: %w", err)
	}
	switch initialized := string(version) == d.Version; {
	case isInit && initialized:
		return fmt.Errorf("%w: chaincode '%s' is already initialized but called as init", errInvocation, d.Name)
	case !isInit && !initialized:
		return fmt.Errorf("%w: chaincode '%s' has not been initialized for this version, must call as init first", errInvocation, d.Name)
	case isInit:
		return r.tx.PutState(d.Name, initializedKey, []byte(d.Version))
	}
	return nil
}
