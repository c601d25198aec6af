package stack

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
)

// Limits of Lambda: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
const (
	MaxFunctionName = 64       // characters
	MaxZip          = 50 << 20 // bytes of a zip that is sent with the call
)

// digits is how much of a hash is in a name: with 40 bits, a thousand chaincodes of one stage share none with a probability of 1 - 5e-7; and
// who made two collide would be refused, because a function belongs to one chaincode.
const digits = 10

var notInNames = regexp.MustCompile(`[^a-zA-Z0-9]+`)

// FunctionName is the name of the function that runs a chaincode of a channel: the stack's prefix, what people recognise it by, and a
// hash of both names, because those are cut and have characters that Lambda does not allow. It is made of nothing else, so that a
// template may have it too. The prefix has up to 45 characters.
func FunctionName(prefix, channel, chaincode string) (string, error) {
	sum := sha256.Sum256([]byte(channel + "\x00" + chaincode))
	hash := hex.EncodeToString(sum[:])[:digits]
	room := MaxFunctionName - len(prefix) - len(hash) - 1
	if room < 8 {
		return "", &SettingError{"stack", fmt.Sprintf("the function prefix %q is too long: give the stack's stage a shorter name", prefix), nil}
	}
	shown := strings.Trim(notInNames.ReplaceAllString(channel+"-"+chaincode, "-"), "-")
	shown = strings.TrimRight(shown[:min(len(shown), room)], "-")
	return prefix + shown + "-" + hash, nil
}
