package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"peerless/shared/api"
)

// maxAnswer bounds what is read of one answer, in bytes: a page of blocks is the largest.
const maxAnswer = 64 << 20

// remote is a server that commands talk to.
type remote struct {
	server
	header http.Header // sent with every request
	client http.Client
}

// newRemote adds the flags of a remote server to a command. Open it when the flags have been read.
func newRemote(cmd *cobra.Command) *remote {
	r := &remote{header: make(http.Header)}
	r.addTo(cmd)
	return r
}

// open completes the settings.
func (r *remote) open(a *app) error {
	if err := r.complete(a.getenv); err != nil {
		return err
	}
	if !strings.Contains(r.URL, "://") {
		r.URL = "http://" + r.URL
	}
	u, err := url.Parse(r.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("%q is not the URL of a server: want one like %s", r.URL, defaultURL)
	}
	r.URL = strings.TrimRight(r.URL, "/")
	return nil
}

// pathOf makes a path of segments, each of which may hold anything.
func pathOf(segments ...string) string {
	var b strings.Builder
	for _, s := range segments {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(s))
	}
	return b.String()
}

func channelPath(channel string, more ...string) string {
	return pathOf(append([]string{"v1", "channels", channel}, more...)...)
}

// send sends a request and returns the answer, whose body the caller closes. An answer that is not a success is an
// *api.Problem.
func (r *remote) send(ctx context.Context, method, path string, header http.Header, body io.Reader) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, r.URL+path, body)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	for _, h := range []http.Header{r.header, header} {
		for name, values := range h {
			request.Header[name] = values
		}
	}
	if r.Key != "" {
		request.Header.Set("Authorization", "Bearer "+r.Key)
	}
	response, err := r.client.Do(request)
	if err != nil {
		var failed *url.Error
		if errors.As(err, &failed) {
			err = failed.Err
		}
		return nil, &unreachableError{r.URL, err}
	}
	if response.StatusCode/100 == 2 {
		return response, nil
	}
	defer response.Body.Close()
	return nil, r.problem(response)
}

// problem reads an answer that is not a success.
func (r *remote) problem(response *http.Response) error {
	raw, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return &unreachableError{r.URL, err}
	}
	kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	var p struct {
		Code            api.Code `json:"code"`
		Detail          string   `json:"detail"`
		Title           string   `json:"title"`
		TransactionID   string   `json:"transactionId"`
		ChaincodeStatus int32    `json:"chaincodeStatus"`
		ValidationCode  string   `json:"validationCode"`
		Field           string   `json:"field"`
		Limit           int64    `json:"limit"`
	}
	if kind != "application/problem+json" || json.Unmarshal(raw, &p) != nil || p.Code == "" {
		return fmt.Errorf("%s answered %s, which is not Peerless's way: check --url", r.URL, response.Status)
	}
	if p.Detail == "" {
		p.Detail = p.Title
	}
	return &api.Problem{
		Code: p.Code, Detail: p.Detail, TransactionID: p.TransactionID, ChaincodeStatus: p.ChaincodeStatus,
		ValidationCode: p.ValidationCode, Field: p.Field, Limit: p.Limit,
	}
}

// call sends a JSON body, or none if it is nil, and returns the JSON of the answer.
func (r *remote) call(ctx context.Context, method, path string, header http.Header, body any) (json.RawMessage, error) {
	var reader io.Reader
	if body != nil {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(body); err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
		header = header.Clone()
		if header == nil {
			header = make(http.Header)
		}
		header.Set("Content-Type", "application/json")
		reader = &b
	}
	response, err := r.send(ctx, method, path, header, reader)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, &unreachableError{r.URL, err}
	}
	if len(raw) > 0 && !json.Valid(raw) {
		return nil, fmt.Errorf("%s answered with something that is not JSON: check --url", r.URL)
	}
	return raw, nil
}

// get reads the resource at a path into out, and returns its JSON as well.
func (r *remote) get(ctx context.Context, path string, out any) (json.RawMessage, error) {
	raw, err := r.call(ctx, http.MethodGet, path, nil, nil)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", r.URL, err)
	}
	return raw, nil
}

// addChannel adds the flag that names the channel.
func addChannel(cmd *cobra.Command, channel *string) {
	cmd.Flags().StringVarP(channel, "channel", "c", defaultChannel, "the channel")
}

const defaultChannel = "main"

// printRaw writes the server's own JSON, as one line.
func (a *app) printRaw(raw json.RawMessage) error {
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	b.WriteByte('\n')
	_, err := a.out.Write(b.Bytes())
	return err
}
