package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"peerless/shared/collection"
	"peerless/shared/deploy"
	"peerless/shared/gateway"
	"peerless/shared/ledger"
)

// versionDigits is how much of the hash of a contract's source is its version in peerless dev.
const versionDigits = 12

// deploy builds a contract, runs it, and says how it is called. What fails is reported: the old version goes on. Of source
// that runs already nothing is said.
func (d *development) deploy(ctx context.Context, c *contract) {
	c.updating.Lock()
	defer c.updating.Unlock()
	d.follow(ctx, c)
	prepared, err := c.Prepare(ctx, deploy.BuildConfig{Compiling: func() { d.tellCompiling(c) }})
	var definition gateway.Definition
	changed := false
	if err == nil {
		definition, changed, err = d.update(ctx, c, prepared)
	}
	if ctx.Err() != nil || err == nil && !changed && prepared.Hash == c.running {
		return
	}
	if err != nil {
		c.running = ""
		d.report(c, err)
		return
	}
	c.running = prepared.Hash
	call := d.describe(ctx, c.Name)
	hint := ""
	if call == nil {
		call = &sampleCall{verb: "submit", Function: "FUNCTION", Args: []string{"ARGUMENT"}}
		hint = "; it does not say what functions it has, so put one in"
	}
	line := d.curl(c.Name, call)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.json {
		d.printJSON(devEvent{Event: "deployed", Chaincode: c.Name, Version: definition.Version, Sequence: definition.Sequence, Curl: line})
		return
	}
	fmt.Fprintf(d.out, "%s runs, version %s%s:\n  %s\n", c.Name, definition.Version, hint, line)
}

func (d *development) tellCompiling(c *contract) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.json {
		d.note("building %s", c.Name)
	}
}

// update makes the channel run a contract's program, with the collections and indexes that lie beside its source. It reports
// false if it does so already.
func (d *development) update(ctx context.Context, c *contract, prepared *deploy.Prepared) (gateway.Definition, bool, error) {
	version := prepared.Hash[:versionDigits]
	collections, err := contractCollections(c.Dir)
	if err != nil {
		return gateway.Definition{}, false, err
	}
	indexes, err := deploy.ReadIndexes(c.Dir)
	if err != nil {
		return gateway.Definition{}, false, err
	}
	current, err := d.Gateway.Definition(ctx, defaultChannel, c.Name)
	if err == nil && current.Version == version && proto.Equal(current.Collections, collections) && slices.Equal(current.Indexes, indexes) {
		_, bindErr := d.Chaincodes.Binding(defaultChannel, c.Name)
		if bindErr == nil {
			return current, false, nil
		}
		if !errors.Is(bindErr, ledger.ErrNotFound) {
			return gateway.Definition{}, false, bindErr
		}
	}
	pkg, err := prepared.Pack(c.Name)
	if err != nil {
		return gateway.Definition{}, false, err
	}
	definition, err := d.Deploy(ctx, defaultChannel, pkg, gateway.Definition{Name: c.Name, Version: version, Collections: collections})
	return definition, true, err
}

// collectionsFile is where Fabric's samples keep a contract's collections of private data.
const collectionsFile = "collections_config.json"

// contractCollections reads the collections of the contract in a directory; nil if it has none.
func contractCollections(dir string) (*peer.CollectionConfigPackage, error) {
	name := filepath.Join(dir, collectionsFile)
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	collections, err := collection.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return collections, nil
}

// report tells that a contract could not be deployed.
func (d *development) report(c *contract, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var build *deploy.BuildError
	output := ""
	if errors.As(err, &build) {
		output = strings.TrimRight(build.Output, "\n")
	}
	if d.json {
		d.printJSON(devEvent{Event: "failed", Chaincode: c.Name, Error: explain(err), Output: output})
		return
	}
	d.note("%s is not deployed: %s", c.Name, lineOf(explain(err)))
	if output != "" {
		d.note("%s", output)
	}
	if _, bound := d.Chaincodes.Binding(defaultChannel, c.Name); bound == nil {
		d.note("the version before goes on; save the source to try again")
	}
}

// describe asks a contract what it has, and picks a call of it: nil if it does not say.
func (d *development) describe(ctx context.Context, name string) *sampleCall {
	user, err := d.User("", "dev", nil)
	if err != nil {
		return nil
	}
	answer, err := d.Gateway.EvaluateTransaction(ctx, gateway.Request{
		Channel: defaultChannel, Chaincode: name, Function: metadataFunction, User: user,
	})
	if err != nil {
		return nil
	}
	return chooseCall(answer.Response.GetPayload())
}

// curl is a command that a shell runs to make the call.
func (d *development) curl(name string, call *sampleCall) string {
	body, err := json.Marshal(call)
	if err != nil { // strings only: cannot fail
		body = []byte("{}")
	}
	quoted := strings.ReplaceAll(string(body), "'", `\u0027`)
	return fmt.Sprintf("curl %s/v1/channels/%s/chaincodes/%s/%s -d '%s'", d.url, defaultChannel, name, call.verb, quoted)
}
