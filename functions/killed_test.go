package functions_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"testing"

	script "peerless/shared/walk"
)

// A strike stands before DynamoDB and kills the gateway at one of its calls.
type strike struct {
	kill func()

	mu     sync.Mutex
	at     int  // the call that is struck, from 1; 0: none
	before bool // before DynamoDB has seen it, or else after it was done, and then nobody hears of it
	calls  int  // since arm
	struck bool
}

// arm has a call struck, counted from now on.
func (s *strike) arm(at int, before bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at, s.before, s.calls, s.struck = at, before, 0, false
}

// disarm returns whether a call was struck, and how many there were.
func (s *strike) disarm() (struck bool, calls int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = 0
	return s.struck, s.calls
}

// falls counts a call, and says whether it is the one.
func (s *strike) falls() (now, before bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if s.at == 0 || s.calls != s.at || s.struck {
		return false, false
	}
	s.struck = true
	return true, s.before
}

// between puts the strike before a DynamoDB.
func (s *strike) between(t *testing.T) func(backend string) string {
	return func(backend string) string {
		target, err := url.Parse(backend)
		if err != nil {
			t.Fatal(err)
		}
		proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }, ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
			ErrorLog: log.New(io.Discard, "", 0)} // who was killed hangs up
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			now, before := s.falls()
			if now && before {
				s.kill()
				panic(http.ErrAbortHandler)
			}
			if now {
				proxy.ServeHTTP(httptest.NewRecorder(), r)
				s.kill()
				panic(http.ErrAbortHandler)
			}
			proxy.ServeHTTP(w, r)
		}))
		t.Cleanup(server.Close)
		return server.URL
	}
}

// TestKilledGateway has Lambda kill the gateway's function at each call of DynamoDB that a submit makes, before and after DynamoDB has done it. Its
// caller, who was told nothing, sends the same again. After all that the chain verifies, and has every transaction once.
func TestKilledGateway(t *testing.T) {
	t.Parallel()
	s := &strike{kill: func() {}}
	d := deploy(t, s.between(t), nil)
	gateway := d.name(t, "GatewayFunction")
	kills := 0
	s.kill = func() {
		for _, pid := range d.lambda.Processes(gateway) {
			if syscall.Kill(-pid, syscall.SIGKILL) == nil {
				kills++
			}
		}
	}
	if status, answer := d.request("POST", "/v1/channels", `{"name":"alpha"}`); status != http.StatusCreated {
		t.Fatalf("create a channel: %d %s", status, answer)
	}
	if err := d.bring(t.Context(), script.Deployment{Contract: "assettransfer", Name: "assets", Channel: "alpha"}); err != nil {
		t.Fatal(err)
	}
	before := d.audit("alpha").Transactions
	const submit = "/v1/channels/alpha/chaincodes/assets/submit"
	made, most := 0, 0
	for at := 1; ; at++ {
		reached := false
		for _, early := range []bool{true, false} {
			made++
			body := fmt.Sprintf(`{"function":"CreateAsset","args":["a%d","blue","5","tom","100"]}`, made)
			s.arm(at, early)
			status, first := d.request("POST", submit, body, "Idempotency-Key", fmt.Sprint("key-", made))
			struck, calls := s.disarm()
			most, reached = max(most, calls), reached || struck
			if struck && status == http.StatusOK {
				t.Errorf("killed at call %d, early %v, the gateway answered %s", at, early, first)
			}
			for tries := 0; status != http.StatusOK; tries++ {
				if tries == 5 {
					t.Fatalf("killed at call %d, early %v: then %d %s", at, early, status, first)
				}
				status, first = d.request("POST", submit, body, "Idempotency-Key", fmt.Sprint("key-", made))
			}
			if !strings.Contains(string(first), `"code":"VALID"`) {
				t.Errorf("killed at call %d, early %v: in the end %s", at, early, first)
			}
			if _, again := d.request("POST", submit, body, "Idempotency-Key", fmt.Sprint("key-", made)); string(again) != string(first) {
				t.Errorf("killed at call %d, early %v: got %s, and then %s", at, early, first, again)
			}
		}
		if !reached {
			break
		}
	}
	if kills < 4 {
		t.Errorf("the gateway was killed %d times: a submit makes more calls than that", kills)
	}
	report := d.audit("alpha")
	if got := report.Transactions - before; got != uint64(made) || report.Invalid > 0 {
		t.Errorf("the chain has %d transactions more, %d of them invalid, want %d", got, report.Invalid, made)
	}
	t.Logf("the gateway was killed %d times in %d submits of up to %d calls, and each transaction is there once", kills, made, most)
}
