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

	"peerless/shared/awstest"
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

// everywhere does something again and again, each time struck at another call of DynamoDB, before and after it, until there is no call left to be
// struck. prepare comes before each, and is spared.
func (s *strike) everywhere(prepare, act func()) (times int) {
	for at := 1; ; at++ {
		reached := false
		for _, early := range []bool{true, false} {
			prepare()
			s.arm(at, early)
			act()
			struck, _ := s.disarm()
			reached = reached || struck
			times++
		}
		if !reached {
			return times
		}
	}
}

// killing makes a deployment in which a strike kills one function, with the probe on the channel alpha.
func killing(t *testing.T, function string, queues *awstest.Queues) (*deployment, *strike, *int) {
	t.Helper()
	s, kills := &strike{kill: func() {}}, new(int)
	d := deploy(t, s.between(t), queues)
	s.kill = func() {
		for _, pid := range d.lambda.Processes(d.name(t, function)) {
			if syscall.Kill(-pid, syscall.SIGKILL) == nil {
				*kills++
			}
		}
	}
	if status, answer := d.request("POST", "/v1/channels", `{"name":"alpha"}`); status != http.StatusCreated {
		t.Fatalf("create a channel: %d %s", status, answer)
	}
	if err := d.bring(t.Context(), script.Deployment{Contract: "probe", Name: "probe", Channel: "alpha"}); err != nil {
		t.Fatal(err)
	}
	return d, s, kills
}

// probeCall is the body of a call that writes a key and sets an event.
func probeCall(n int) string {
	return fmt.Sprintf(`{"function":"run","args":["[{\"op\":\"SetEvent\",\"name\":\"e\",\"payload\":\"event %d\"},{\"op\":\"PutState\",\"key\":\"k%d\",\"value\":\"v\"}]"]}`, n, n)
}

// TestKilledGateway has Lambda kill the gateway's function at each call of DynamoDB that a submit makes, before and after DynamoDB has done it. Its
// caller, who was told nothing, sends the same again. After all that the chain verifies, and has every transaction once.
func TestKilledGateway(t *testing.T) {
	t.Parallel()
	d, s, kills := killing(t, "GatewayFunction", nil)
	before := d.audit("alpha").Transactions
	const submit = "/v1/channels/alpha/chaincodes/probe/submit"
	most, n := 0, 0
	made := s.everywhere(func() { n++ }, func() {
		send := func() (int, []byte) {
			return d.request("POST", submit, probeCall(n), "Idempotency-Key", fmt.Sprint("key-", n))
		}
		status, first := send()
		struck, calls := s.disarm()
		most = max(most, calls)
		if struck && status == http.StatusOK {
			t.Errorf("killed at a call of submit %d, the gateway answered %s", n, first)
		}
		for tries := 0; status != http.StatusOK; tries++ {
			if tries == 5 {
				t.Fatalf("killed at a call of submit %d: then %d %s", n, status, first)
			}
			status, first = send()
		}
		if !strings.Contains(string(first), `"code":"VALID"`) {
			t.Errorf("killed at a call of submit %d: in the end %s", n, first)
		}
		if _, again := send(); string(again) != string(first) {
			t.Errorf("killed at a call of submit %d: got %s, and then %s", n, first, again)
		}
	})
	if *kills < 4 {
		t.Errorf("the gateway was killed %d times: a submit makes more calls than that", *kills)
	}
	report := d.audit("alpha")
	if got := report.Transactions - before; got != uint64(made) || report.Invalid > 0 {
		t.Errorf("the chain has %d transactions more, %d of them invalid, want %d", got, report.Invalid, made)
	}
	t.Logf("the gateway was killed %d times in %d submits of up to %d calls, and each transaction is there once", *kills, made, most)
}
