package policy

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"google.golang.org/protobuf/proto"
)

// ErrSyntax: the text is no policy.
var ErrSyntax = errors.New("not a signature policy")

// maxDepth bounds how deep gates may lie in one another.
const maxDepth = 64

var principalText = regexp.MustCompile(`^([[:alnum:].-]+)\.(admin|member|client|peer|orderer)$`)

var roles = map[string]msp.MSPRole_MSPRoleType{
	"member": msp.MSPRole_MEMBER, "admin": msp.MSPRole_ADMIN, "client": msp.MSPRole_CLIENT,
	"peer": msp.MSPRole_PEER, "orderer": msp.MSPRole_ORDERER,
}

// Parse reads a policy: AND(p, …), OR(p, …) or OutOf(n, p, …), where p is a principal 'MSP.role' or another gate, and a
// role is member, admin, client, peer or orderer. It returns ErrSyntax, with what is wrong where.
//
// The order of the identities in the message is Fabric's: of each gate first those of the gates in it, then its own.
func Parse(text string) (*common.SignaturePolicyEnvelope, error) {
	p := &parser{text: text}
	rule, err := p.gate(0)
	if err == nil && p.skip() < len(p.text) {
		err = p.wrong("the end")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	return &common.SignaturePolicyEnvelope{Rule: rule, Identities: p.identities}, nil
}

type parser struct {
	text       string
	at         int
	identities []*msp.MSPPrincipal
}

// skip passes over blanks and returns the position.
func (p *parser) skip() int {
	for p.at < len(p.text) && strings.ContainsRune(" \t\r\n", rune(p.text[p.at])) {
		p.at++
	}
	return p.at
}

func (p *parser) wrong(want string) error {
	return fmt.Errorf("at %d: want %s", p.at, want)
}

func (p *parser) take(c byte) bool {
	if p.skip() < len(p.text) && p.text[p.at] == c {
		p.at++
		return true
	}
	return false
}

// word takes letters, or an integer.
func (p *parser) word() string {
	start := p.skip()
	for p.at < len(p.text) && (isLetter(p.text[p.at]) || isDigit(p.text[p.at]) || p.at == start && p.text[p.at] == '-') {
		p.at++
	}
	return p.text[start:p.at]
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
func isDigit(c byte) bool  { return '0' <= c && c <= '9' }

// quoted takes a text between quotes. There are no escapes: neither principals nor numbers have a quote in them.
func (p *parser) quoted() (string, bool) {
	if p.skip() == len(p.text) || p.text[p.at] != '\'' && p.text[p.at] != '"' {
		return "", false
	}
	end := strings.IndexByte(p.text[p.at+1:], p.text[p.at])
	if end < 0 {
		return "", false
	}
	text := p.text[p.at+1 : p.at+1+end]
	p.at += end + 2
	return text, true
}

func (p *parser) gate(depth int) (*common.SignaturePolicy, error) {
	if depth == maxDepth {
		return nil, p.wrong(fmt.Sprintf("no more than %d gates in one another", maxDepth))
	}
	start := p.skip()
	name := p.word()
	n, counted := 1, false
	switch name {
	case "AND", "And", "and", "OR", "Or", "or":
	case "OUTOF", "OutOf", "outof":
		counted = true
	default:
		p.at = start
		return nil, p.wrong("AND, OR or OutOf")
	}
	if !p.take('(') {
		return nil, p.wrong("(")
	}
	if counted {
		var err error
		if n, err = p.number(); err != nil {
			return nil, err
		}
		if !p.take(',') {
			return nil, p.wrong(",")
		}
	}
	rules, err := p.operands(depth)
	if err != nil {
		return nil, err
	}
	if strings.EqualFold(name, "and") {
		n = len(rules)
	}
	if n < 0 || n > len(rules)+1 {
		return nil, fmt.Errorf("%d out of %d makes no sense", n, len(rules))
	}
	return outOf(int32(n), rules), nil
}

func (p *parser) number() (int, error) {
	text, ok := p.quoted()
	if !ok {
		text = p.word()
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return 0, p.wrong("a number")
	}
	return int(n), nil
}

// operands takes a gate's principals and gates up to its end, and then numbers the principals.
func (p *parser) operands(depth int) ([]*common.SignaturePolicy, error) {
	var rules []*common.SignaturePolicy
	own := map[int]*msp.MSPPrincipal{}
	for {
		if text, ok := p.quoted(); ok {
			principal, err := parsePrincipal(text)
			if err != nil {
				return nil, err
			}
			own[len(rules)] = principal
			rules = append(rules, nil)
		} else {
			rule, err := p.gate(depth + 1)
			if err != nil {
				return nil, err
			}
			rules = append(rules, rule)
		}
		if p.take(')') {
			break
		}
		if !p.take(',') {
			return nil, p.wrong(", or )")
		}
	}
	for i := range rules {
		if rules[i] == nil {
			rules[i] = signedBy(int32(len(p.identities)))
			p.identities = append(p.identities, own[i])
		}
	}
	return rules, nil
}

func parsePrincipal(text string) (*msp.MSPPrincipal, error) {
	parts := principalText.FindStringSubmatch(text)
	if parts == nil {
		return nil, fmt.Errorf("%q is not MSP.role", text)
	}
	return Role(parts[1], roles[parts[2]])
}

// Role returns the principal of a role in an MSP.
func Role(mspID string, role msp.MSPRole_MSPRoleType) (*msp.MSPPrincipal, error) {
	raw, err := proto.Marshal(&msp.MSPRole{MspIdentifier: mspID, Role: role})
	if err != nil {
		return nil, fmt.Errorf("principal of %q: %w", mspID, err)
	}
	return &msp.MSPPrincipal{PrincipalClassification: msp.MSPPrincipal_ROLE, Principal: raw}, nil
}

// RolesOutOf returns the policy that the role signs in n of the MSPs.
func RolesOutOf(n int32, role msp.MSPRole_MSPRoleType, mspIDs ...string) (*common.SignaturePolicyEnvelope, error) {
	principals := make([]*msp.MSPPrincipal, len(mspIDs))
	for i, id := range mspIDs {
		var err error
		if principals[i], err = Role(id, role); err != nil {
			return nil, err
		}
	}
	return principalsOutOf(n, principals), nil
}

// AnyRole returns the policy that one of the roles signs in the MSP.
func AnyRole(mspID string, roles ...msp.MSPRole_MSPRoleType) (*common.SignaturePolicyEnvelope, error) {
	principals := make([]*msp.MSPPrincipal, len(roles))
	for i, role := range roles {
		var err error
		if principals[i], err = Role(mspID, role); err != nil {
			return nil, err
		}
	}
	return principalsOutOf(1, principals), nil
}

func principalsOutOf(n int32, principals []*msp.MSPPrincipal) *common.SignaturePolicyEnvelope {
	rules := make([]*common.SignaturePolicy, len(principals))
	for i := range principals {
		rules[i] = signedBy(int32(i))
	}
	return &common.SignaturePolicyEnvelope{Rule: outOf(n, rules), Identities: principals}
}

func signedBy(i int32) *common.SignaturePolicy {
	return &common.SignaturePolicy{Type: &common.SignaturePolicy_SignedBy{SignedBy: i}}
}

func outOf(n int32, rules []*common.SignaturePolicy) *common.SignaturePolicy {
	return &common.SignaturePolicy{Type: &common.SignaturePolicy_NOutOf_{
		NOutOf: &common.SignaturePolicy_NOutOf{N: n, Rules: rules},
	}}
}
