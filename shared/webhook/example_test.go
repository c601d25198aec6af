package webhook_test

import (
	"fmt"
	"io"
	"net/http"
	"time"

	"peerless/shared/webhook"
)

// An endpoint checks the signature before it believes anything, and remembers the ids that it has seen.
func ExampleVerify() {
	secret := webhook.NewSecret() // what peerless webhook add printed
	seen := make(map[string]bool) // in a database, for real
	http.HandleFunc("POST /events", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 2<<20))
		if err == nil {
			err = webhook.Verify(secret, r.Header, body, time.Now())
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if id := r.Header.Get(webhook.HeaderID); !seen[id] {
			seen[id] = true
			fmt.Printf("%s: %s\n", id, body)
		}
	})
}
