package walk_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"peerless/shared/toolbox"
	"peerless/shared/walk"
)

const script = `# An introduction.

-- make
POST /made
Idempotency-Key: k
{"n":1}
=> 201
{
  "id": "<h1>",
  "when": "<time>"
}

-- show it
# For people.
GET /made/<h1>
=> 200
"<h1>"

-- who [as nobody]
GET /who
=> 401

-- bring it there
deploy thing as t on alpha policy OR('A.peer', 'B.peer')

-- in the end [until]
GET /slow
{"long":"<y*3>"}
=> 200
{
  "echo": "{\"long\":\"yyy\"}"
}
`

// server answers what the script wants, with ids of its own.
func server(t *testing.T, id string) *httptest.Server {
	var slow atomic.Int32
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, status int, format string, args ...any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprintf(w, format, args...)
	}
	mux.HandleFunc("POST /made", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Idempotency-Key") != "k" {
			t.Errorf("no idempotency key in %v", r.Header)
		}
		answer(w, 201, `{"when":"2026-11-26T11:00:00.5Z","id":%q}`, id)
	})
	mux.HandleFunc("GET /made/"+id, func(w http.ResponseWriter, r *http.Request) { answer(w, 200, "%q", id) })
	mux.HandleFunc("GET /who", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			w.WriteHeader(401)
		}
	})
	mux.HandleFunc("GET /slow", func(w http.ResponseWriter, r *http.Request) {
		if slow.Add(1) < 3 {
			w.WriteHeader(404)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		answer(w, 200, `{"echo":%q}`, body)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func TestRun(t *testing.T) {
	t.Parallel()
	w, err := walk.Parse(script)
	if err != nil {
		t.Fatal(err)
	}
	for _, digit := range []string{"a", "7"} {
		var deployed []walk.Deployment
		got, err := w.Run(t.Context(), walk.Target{
			URL: server(t, strings.Repeat(digit, 64)).URL, Keys: map[string]string{"operator": "pk_1"},
			Deploy: func(_ context.Context, d walk.Deployment) error {
				deployed = append(deployed, d)
				return nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(script, got); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]walk.Deployment{{Contract: "thing", Name: "t", Channel: "alpha", Policy: "OR('A.peer', 'B.peer')"}}, deployed); diff != "" {
			t.Error(diff)
		}
	}
}

// TestDifference: another answer is another text.
func TestDifference(t *testing.T) {
	t.Parallel()
	w, err := walk.Parse("-- x\nGET /x\n=> 200\n{\n  \"a\": 1\n}\n")
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"a":2}`)
	}))
	defer s.Close()
	got, err := w.Run(t.Context(), walk.Target{URL: s.URL})
	if want := "-- x\nGET /x\n=> 200\n{\n  \"a\": 2\n}\n"; err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"-- nothing\n",
		"-- no request\nFETCH /x\n=> 200\n",
		"-- a deployment with more\ndeploy a as b on c\n{}\n",
	} {
		if w, err := walk.Parse(text); err == nil {
			t.Errorf("%q: got %+v, want an error", text, w)
		}
	}
	text, err := os.ReadFile(filepath.Join(toolbox.Root(), "testdata", "walk", "walk.txt"))
	if err != nil {
		t.Fatal(err)
	}
	w, err := walk.Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(text), w.String()); diff != "" {
		t.Errorf("the walk is not in the form that is written (-file +written):\n%s", diff)
	}
}
