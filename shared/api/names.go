package api

import (
	"errors"
	"strings"

	"peerless/shared/wire"
)

func checkChannel(field, name string) error   { return checkName(field, name, wire.ChannelName) }
func checkChaincode(field, name string) error { return checkName(field, name, wire.ChaincodeName) }

func checkName(field, name string, rule wire.NameRule) error {
	if err := rule.Check(name); err != nil {
		return invalid(field, strings.TrimPrefix(err.Error(), errors.Unwrap(err).Error()+": "))
	}
	return nil
}
