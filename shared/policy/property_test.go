package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"peerless/shared/msp"
	"peerless/shared/policy"
)

// tree is a policy as the test thinks of it: a principal, or a gate.
type tree struct {
	principal string
	n         int
	operands  []tree
}

func (r tree) String() string {
	if r.principal != "" {
		return "'" + r.principal + "'"
	}
	parts := make([]string, len(r.operands))
	for i, operand := range r.operands {
		parts[i] = operand.String()
	}
	return fmt.Sprintf("OutOf(%d, %s)", r.n, strings.Join(parts, ", "))
}

// satisfied says what the signers, by name, that r takes leave over, in their order; ok if r is satisfied.
func (r tree) satisfied(signers []string) (left []string, ok bool) {
	if r.principal != "" {
		i := slices.IndexFunc(signers, func(name string) bool { return fits(name, r.principal) })
		if i < 0 {
			return signers, false
		}
		return slices.Concat(signers[:i], signers[i+1:]), true
	}
	count := 0
	for _, operand := range r.operands {
		if after, ok := operand.satisfied(signers); ok {
			signers = after
			count++
		}
	}
	return signers, count >= r.n
}

// satisfiable says whether the signers can be given to principals in any way at all, each to one.
func (r tree) satisfiable(signers []string) bool {
	for range r.ways(signers) {
		return true
	}
	return false
}

// ways yields what is left of the signers for each way to satisfy r.
func (r tree) ways(signers []string) func(yield func([]string) bool) {
	return func(yield func([]string) bool) {
		if r.principal == "" {
			waysOf(r.operands, r.n, signers, yield)
			return
		}
		for i, name := range signers {
			if fits(name, r.principal) && !yield(slices.Concat(signers[:i], signers[i+1:])) {
				return
			}
		}
	}
}

func waysOf(operands []tree, n int, signers []string, yield func([]string) bool) bool {
	if n <= 0 {
		return yield(signers)
	}
	if len(operands) < n {
		return true
	}
	more := true
	operands[0].ways(signers)(func(left []string) bool {
		more = waysOf(operands[1:], n-1, left, yield)
		return more
	})
	return more && waysOf(operands[1:], n, signers, yield)
}

// fits: "A.peer2" is 'A.peer' and 'A.member'.
func fits(name, principal string) bool {
	org, role, _ := strings.Cut(principal, ".")
	nameOrg, nameRole, _ := strings.Cut(name, ".")
	return org == nameOrg && (role == "member" || role == strings.TrimSuffix(nameRole, "2"))
}

func drawTree(t *rapid.T, depth int) tree {
	if depth > 0 && rapid.IntRange(0, 2).Draw(t, "leaf") > 0 {
		org, role := rapid.SampledFrom([]string{"A", "B", "C"}), rapid.SampledFrom([]string{"peer", "member", "client", "admin"})
		return tree{principal: org.Draw(t, "org") + "." + role.Draw(t, "role")}
	}
	gate := tree{}
	for range rapid.IntRange(1, 3).Draw(t, "operands") {
		if depth == 3 {
			gate.operands = append(gate.operands, tree{principal: "A.member"})
		} else {
			gate.operands = append(gate.operands, drawTree(t, depth+1))
		}
	}
	gate.n = rapid.IntRange(0, len(gate.operands)+1).Draw(t, "n")
	return gate
}

func TestSatisfiedProperties(t *testing.T) {
	t.Parallel()
	ids := organisations(t, "A", "B", "C")
	var names []string
	for name := range ids {
		names = append(names, name)
	}
	slices.Sort(names)
	rapid.Check(t, func(t *rapid.T) {
		drawn := drawTree(t, 0)
		signers := rapid.SliceOfNDistinct(rapid.SampledFrom(names), 0, 5, rapid.ID).Draw(t, "signers")
		var identities []*msp.Identity
		for _, name := range signers {
			identities = append(identities, ids[name])
		}
		envelope, err := policy.Parse(drawn.String())
		if err != nil {
			t.Fatal(err)
		}
		got := policy.Satisfied(envelope, identities)
		if _, want := drawn.satisfied(signers); got != want {
			t.Fatalf("%s by %v: got %t", drawn, signers, got)
		}
		if got && !drawn.satisfiable(signers) {
			t.Fatalf("%s by %v: satisfied in no way", drawn, signers)
		}
		again, err := policy.Parse(policy.Format(envelope))
		if err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(again, envelope) {
			t.Fatalf("%s came back as %s", policy.Format(envelope), policy.Format(again))
		}
	})
}
