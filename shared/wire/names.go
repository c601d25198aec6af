package wire

import (
	"errors"
	"fmt"
	"regexp"
)

// ErrName: a name is not one that Fabric takes.
var ErrName = errors.New("not a valid name")

// A NameRule says what names of one kind are like.
type NameRule struct {
	kind    string
	pattern *regexp.Regexp
	max     int // bytes
}

// Fabric's rules: configtx.validateChannelID for channels, core/chaincode/lifecycle for chaincodes and their versions. Fabric
// sets no length for the last two; these have room in keys, labels and file names.
var (
	ChannelName      = NameRule{"a channel's name", regexp.MustCompile(`^[a-z][a-z0-9.-]*$`), 249}
	ChaincodeName    = NameRule{"a chaincode's name", regexp.MustCompile(`^[a-zA-Z0-9]+([-_][a-zA-Z0-9]+)*$`), 128}
	ChaincodeVersion = NameRule{"a chaincode's version", regexp.MustCompile(`^[A-Za-z0-9_.+-]+$`), 128}
)

// Check returns nil if the name is one of the rule's, else an error wrapping ErrName that tells the rule.
func (r NameRule) Check(name string) error {
	if len(name) <= r.max && r.pattern.MatchString(name) {
		return nil
	}
	return fmt.Errorf("%w: %.60q: %s must match %s, with at most %d characters", ErrName, name, r.kind, r.pattern, r.max)
}
