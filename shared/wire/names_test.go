package wire

import (
	"errors"
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rule NameRule
		name string
		ok   bool
	}{
		{ChannelName, "main", true},
		{ChannelName, "a.b-1", true},
		{ChannelName, strings.Repeat("a", 249), true},
		{ChannelName, strings.Repeat("a", 250), false},
		{ChannelName, "", false},
		{ChannelName, "Main", false},
		{ChannelName, "1a", false},
		{ChannelName, "a/b", false},
		{ChannelName, "a b", false},
		{ChannelName, "ä", false},
		{ChannelName, "a\n", false},
		{ChaincodeName, "asset-transfer_2", true},
		{ChaincodeName, strings.Repeat("a", 129), false},
		{ChaincodeName, "a--b", false},
		{ChaincodeName, "-a", false},
		{ChaincodeName, "_lifecycle", false},
		{ChaincodeName, "a.b", false},
		{ChaincodeVersion, "1.0+build_2", true},
		{ChaincodeVersion, "", false},
		{ChaincodeVersion, "1 0", false},
	} {
		if err := c.rule.Check(c.name); (err == nil) != c.ok || err != nil && !errors.Is(err, ErrName) {
			t.Errorf("%s %.20q: %v, want ok %t", c.rule.kind, c.name, err, c.ok)
		}
	}
}
