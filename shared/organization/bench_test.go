package organization

import (
	"fmt"
	"testing"
)

// BenchmarkUser measures a user that was used before, the load of one that was not, and the first use of one.
func BenchmarkUser(b *testing.B) {
	for _, c := range []struct {
		name  string
		users func(i int) int
		first bool // every user is new
	}{
		{"remembered", func(int) int { return 0 }, false},
		{"loaded", func(i int) int { return i % (4 * generation) }, false},
		{"issued", func(i int) int { return i }, true},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := mustOpen(b, b.TempDir())
			org, err := r.Organization("Org1MSP")
			if err != nil {
				b.Fatal(err)
			}
			user := func(i int) {
				if _, err := org.User(fmt.Sprintf("user%d", c.users(i)), nil); err != nil {
					b.Fatal(err)
				}
			}
			if !c.first {
				for i := range 4 * generation {
					user(i)
				}
			}
			b.ResetTimer()
			for i := range b.N {
				user(i)
			}
		})
	}
}
