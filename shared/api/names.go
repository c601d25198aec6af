package api

import (
	"fmt"
	"regexp"
)

// The rules for names are Fabric's: configtx.validateChannelID, and the lifecycle's of chaincodes.
var (
	channelRule   = regexp.MustCompile(`^[a-z][a-z0-9.-]*$`)
	chaincodeRule = regexp.MustCompile(`^[a-zA-Z0-9]+([-_][a-zA-Z0-9]+)*$`)
	versionRule   = regexp.MustCompile(`^[A-Za-z0-9_.+-]+$`)
)

// maxName is the length of a channel's name in Fabric (MaxLength in configtx). Chaincodes' get the same here.
const maxName = 249

func checkChannel(field, name string) error {
	return checkName(field, "a channel's name", name, channelRule)
}

func checkChaincode(field, name string) error {
	return checkName(field, "a chaincode's name", name, chaincodeRule)
}

func checkName(field, what, name string, rule *regexp.Regexp) error {
	if len(name) > maxName || !rule.MatchString(name) {
		shown := name
		if len(shown) > 60 {
			shown = shown[:60] + "…"
		}
		return invalid(field, fmt.Sprintf("%s must match %s, with at most %d characters: not %q", what, rule, maxName, shown))
	}
	return nil
}
