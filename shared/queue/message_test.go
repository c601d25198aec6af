package queue_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"peerless/shared/gateway"
	"peerless/shared/queue"
)

const good = `"channel":"main","chaincode":"cc","function":"f"`

func TestParse(t *testing.T) {
	t.Parallel()
	m, err := queue.Parse([]byte(`{"version":1,"id":"m1",`+good+`,"args":["a","é"],"transient":{"k":"AP8="},"organizations":["Org1MSP"],"user":"alice","organization":"Org1MSP","attributes":{"role":"clerk"}}`), "sqs")
	want := &queue.Message{
		Version: 1, ID: "m1", Channel: "main", Chaincode: "cc", Function: "f", Args: []string{"a", "é"}, Transient: map[string][]byte{"k": {0, 255}},
		Organizations: []string{"Org1MSP"}, User: "alice", Organization: "Org1MSP", Attributes: map[string]string{"role": "clerk"},
	}
	if err != nil || !cmp.Equal(m, want) {
		t.Errorf("got %+v, %v", m, err)
	}
	if m, err := queue.Parse([]byte(`{`+good+`}`), "sqs"); err != nil || m.ID != "sqs" || m.User != queue.DefaultUser || m.Version != 1 {
		t.Errorf("the least message: got %+v, %v", m, err)
	}
	for body, says := range map[string]string{
		"":                                       "not the JSON object",
		"[]":                                     "not the JSON object",
		"{" + good + "} x":                       "there is more",
		`{"version":2,` + good + "}":             "this program reads 1 to 1",
		`{"version":-1,` + good + "}":            "this program reads 1 to 1",
		`{` + good + `,"colour":"red"}`:          "colour",
		`{"channel":"main"}`:                     `"function" is missing`,
		`{"chaincode":"cc",` + `"function":"f"}`: "a channel's name",
		`{"id":"\u00e9",` + good + "}":           `"id" must be`,
		`{"id":"` + strings.Repeat("x", 256) + `",` + good + "}": `"id" must be`,
	} {
		_, err := queue.Parse([]byte(body), "sqs")
		var poison *queue.Poison
		if !errors.As(err, &poison) || poison.Code != "INVALID_REQUEST" || !strings.Contains(poison.Reason, says) {
			t.Errorf("%s: got %v, want poison that says %q", body, err, says)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{` + good + `,"args":["a"],"transient":{"k":"AP8="}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := queue.Parse(body, "id")
		if err != nil {
			if poison := (*queue.Poison)(nil); !errors.As(err, &poison) {
				t.Fatalf("%v is no poison", err)
			}
			return
		}
		raw, err := queue.Format(m)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := queue.Parse(raw, "other"); err != nil || again.ID != m.ID || again.Function != m.Function || !cmp.Equal(again.Args, m.Args) && len(m.Args) > 0 {
			t.Fatalf("%s was read as %+v, and written again as %s (%v)", body, m, raw, err)
		}
	})
}

// TestBatch: once a message of a group has to wait, the later ones of its group in the batch wait too; poison does not, if it could
// be put aside.
func TestBatch(t *testing.T) {
	t.Parallel()
	script := func(_ int, r gateway.Request) error {
		switch name := string(r.Args[0]); {
		case strings.HasPrefix(name, "poison"):
			return failure(gateway.NotFound, "no such chaincode")
		case strings.HasPrefix(name, "wait"):
			return failure(gateway.OutcomeUnknown, "who knows")
		}
		return nil
	}
	delivery := func(group, name string) queue.Delivery {
		body, err := queue.Format(message(name))
		if err != nil {
			t.Fatal(err)
		}
		return queue.Delivery{ID: name, Group: group, Body: body}
	}
	batch := []queue.Delivery{
		delivery("a", "a1"), delivery("b", "wait b"), delivery("a", "poison a"), delivery("b", "b2"), delivery("a", "a3"),
		delivery("", "wait alone"), delivery("", "alone"), {ID: "junk", Group: "a", Body: []byte("{")}, delivery("a", "a4"),
	}
	const blocked = "blocked"
	run := func(bury func(context.Context, queue.Delivery, *queue.Poison) error) (failed map[string]string, committed map[string]bool) {
		p := newPlatform(script)
		failed = make(map[string]string)
		for i, err := range handler(p).Batch(t.Context(), batch, bury) {
			switch poison := (*queue.Poison)(nil); {
			case errors.Is(err, queue.ErrBlocked):
				failed[batch[i].ID] = blocked
			case errors.As(err, &poison):
				failed[batch[i].ID] = poison.Code
			case err != nil:
				failed[batch[i].ID] = "failed"
			}
		}
		committed = make(map[string]bool)
		for _, name := range p.order() {
			committed[name] = true
		}
		return failed, committed
	}

	buried := make(map[string]string)
	failed, committed := run(func(_ context.Context, d queue.Delivery, p *queue.Poison) error {
		buried[d.ID] = p.Code
		return nil
	})
	if diff := cmp.Diff(failed, map[string]string{"wait b": "failed", "b2": blocked, "wait alone": "failed"}); diff != "" {
		t.Errorf("with dead letters, failed (-got +want):\n%s", diff)
	}
	if diff := cmp.Diff(buried, map[string]string{"poison a": "NOT_FOUND", "junk": "INVALID_REQUEST"}); diff != "" {
		t.Errorf("buried (-got +want):\n%s", diff)
	}
	if diff := cmp.Diff(committed, map[string]bool{"a1": true, "a3": true, "a4": true, "alone": true}); diff != "" {
		t.Errorf("committed (-got +want):\n%s", diff)
	}

	for what, bury := range map[string]func(context.Context, queue.Delivery, *queue.Poison) error{
		"no dead letters":    nil,
		"they do not answer": func(context.Context, queue.Delivery, *queue.Poison) error { return errors.New("no answer") },
	} {
		failed, _ := run(bury)
		poisoned := "failed"
		if bury == nil {
			poisoned = "NOT_FOUND"
		}
		want := map[string]string{"wait b": "failed", "b2": blocked, "wait alone": "failed", "poison a": poisoned, "a3": blocked, "junk": blocked, "a4": blocked}
		if diff := cmp.Diff(failed, want); diff != "" {
			t.Errorf("%s, failed (-got +want):\n%s", what, diff)
		}
	}
}

// TestCertificateChanged: the transaction that the sender was told is looked for before the message is run under another id.
func TestCertificateChanged(t *testing.T) {
	t.Parallel()
	m := message("once")
	m.TransactionID = "the id under the old certificate"
	p := newPlatform(nil)
	if err := (&queue.Handler{Gateway: recorded{p, m.TransactionID}, Signer: signer}).Handle(t.Context(), m); err != nil || len(p.order()) != 0 {
		t.Errorf("a message that was committed under the old certificate: got %v, committed %v", err, p.order())
	}
	if err := handler(p).Handle(t.Context(), m); err != nil || len(p.order()) != 1 {
		t.Errorf("one that was not: got %v, committed %v", err, p.order())
	}
}

type recorded struct {
	*platform
	id string
}

func (r recorded) Recorded(_ context.Context, _, txID string) (bool, error) { return txID == r.id, nil }
