// Package client calls the HTTP API of Peerless. What the server refuses comes back as a *Problem. A Client is safe for
// concurrent use.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Config says how a server is reached.
type Config struct {
	Key string // the API key, pk_…; empty for peerless dev

	// User, Organization and Attributes say who calls a server that needs no key. Empty: the server's default.
	User, Organization string
	Attributes         string // name=value,name=value: see api.ParseAttributes

	HTTP *http.Client // default: a client of its own, without a time limit. Limit calls by their context
}

// Client calls one server.
type Client struct {
	base   string
	config Config
	http   *http.Client
}

// New returns a client of the server at address: http://127.0.0.1:8080, or 127.0.0.1:8080.
func New(address string, config Config) (*Client, error) {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%q is not a server's address: want http://HOST:PORT", address)
	}
	c := &Client{base: strings.TrimSuffix(u.String(), "/"), config: config, http: config.HTTP}
	if c.http == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.MaxIdleConnsPerHost = 256
		c.http = &http.Client{Transport: transport}
	}
	return c, nil
}

// A Problem is the server's refusal. Its fields are those of the API's problems.
type Problem struct {
	Status          int    `json:"status"`
	Code            string `json:"code"` // stable: decide on this
	Title           string `json:"title"`
	Detail          string `json:"detail"`
	TransactionID   string `json:"transactionId"`
	ChaincodeStatus int32  `json:"chaincodeStatus"`
	ValidationCode  string `json:"validationCode"`
	Field           string `json:"field"`
	Limit           int64  `json:"limit"`
	// GRPC is what Fabric's gateway says, of a call through GatewayConn.
	GRPC       *GRPCStatus `json:"grpcStatus"`
	RetryAfter int         `json:"-"` // seconds; 0 if the server does not say
}

// advice says what to do where the detail does not.
var advice = map[string]string{
	"UNAUTHENTICATED":            "set PEERLESS_KEY, or --key",
	"FORBIDDEN":                  "use a key that may do this",
	"MVCC_READ_CONFLICT":         "try again",
	"PHANTOM_READ_CONFLICT":      "try again",
	"ENDORSEMENT_POLICY_FAILURE": "have the organisations of the policy endorse",
	"CHAINCODE_CRASHED":          "nothing was committed; look at the server's log",
	"CHAINCODE_TIMEOUT":          "nothing was committed; try again, or make the function faster",
	"UNAVAILABLE":                "try again",
	"INTERNAL":                   "look at the server's log",
}

// Error is one line: what happened, the code, and what to do.
func (p *Problem) Error() string {
	detail := strings.Join(strings.Fields(p.Detail), " ")
	if detail == "" {
		detail = p.Title
	}
	line := fmt.Sprintf("%s (%s)", detail, p.Code)
	switch {
	case p.Code == "OUTCOME_UNKNOWN" && p.TransactionID != "":
		line += ": ask with peerless tx " + p.TransactionID
	case p.Code == "QUOTA_EXCEEDED" && p.RetryAfter > 0:
		line += fmt.Sprintf(": try again in %d s", p.RetryAfter)
	case advice[p.Code] != "":
		line += ": " + advice[p.Code]
	}
	return line
}

// maxProblem is how much of a refusal is read.
const maxProblem = 64 << 10

// problemOf reads a refusal. One that does not come from Peerless gets the code UNKNOWN.
func problemOf(response *http.Response) *Problem {
	body, _ := io.ReadAll(io.LimitReader(response.Body, maxProblem))
	p := &Problem{}
	if json.Unmarshal(body, p) != nil || p.Code == "" {
		p = &Problem{Code: "UNKNOWN", Title: response.Status, Detail: "the server answered " + response.Status + ": is it Peerless?"}
	}
	p.Status = response.StatusCode
	p.RetryAfter, _ = strconv.Atoi(response.Header.Get("Retry-After"))
	return p
}

// call is one request. path is escaped.
type call struct {
	method, path string
	body         io.Reader
	header       []string // name, value, …
}

// send returns an answer that is a success. The caller closes its body.
func (c *Client) send(ctx context.Context, call call) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, call.method, c.base+call.path, call.body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", call.method, call.path, err)
	}
	for name, value := range map[string]string{"X-Peerless-User": c.config.User, "X-Peerless-Organization": c.config.Organization, "X-Peerless-Attributes": c.config.Attributes} {
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	if c.config.Key != "" {
		r.Header.Set("Authorization", "Bearer "+c.config.Key)
	}
	for i := 0; i+1 < len(call.header); i += 2 {
		if call.header[i+1] != "" {
			r.Header.Set(call.header[i], call.header[i+1])
		}
	}
	response, err := c.http.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%s %s: %w", call.method, call.path, err)
		}
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return nil, fmt.Errorf("cannot reach %s, is the server running? %w", c.base, err)
	}
	if response.StatusCode/100 != 2 {
		defer response.Body.Close()
		return nil, problemOf(response)
	}
	return response, nil
}

// do sends a request and reads the answer into out, unless that is nil.
func (c *Client) do(ctx context.Context, call call, out any) error {
	response, err := c.send(ctx, call)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if out == nil {
		_, err = io.Copy(io.Discard, response.Body)
	} else {
		err = json.NewDecoder(response.Body).Decode(out)
	}
	if err != nil {
		return fmt.Errorf("%s %s: read the answer: %w", call.method, call.path, err)
	}
	return nil
}

func (c *Client) get(ctx context.Context, path string, out any) error {
	return c.do(ctx, call{method: http.MethodGet, path: path}, out)
}

func (c *Client) post(ctx context.Context, path string, in, out any, header ...string) error {
	return c.with(ctx, http.MethodPost, path, in, out, header...)
}

// with sends a request with a JSON body.
func (c *Client) with(ctx context.Context, method, path string, in, out any, header ...string) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	header = append(header, "Content-Type", "application/json")
	return c.do(ctx, call{method, path, bytes.NewReader(body), header}, out)
}

func channelPath(channel string) string { return "/v1/channels/" + url.PathEscape(channel) }

func chaincodePath(channel, chaincode string) string {
	return channelPath(channel) + "/chaincodes/" + url.PathEscape(chaincode)
}
