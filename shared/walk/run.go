package walk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// A Target is a running Peerless.
type Target struct {
	URL string
	// Keys are API keys by the names that scripts use; "operator" is sent where a step names none. Nil: the target needs none.
	Keys map[string]string
	// Deploy deploys a contract as version 1.0 and returns when it answers.
	Deploy func(context.Context, Deployment) error
}

// pause is the time between two tries of a request that is repeated, and patience how long it is.
const (
	pause    = 50 * time.Millisecond
	patience = 2 * time.Minute
)

// Run walks. It returns the script with the answers that came in place of those that were wanted; with an error, as far as it got.
func (w *Walk) Run(ctx context.Context, target Target) (string, error) {
	names := &names{byValue: make(map[string]string), byName: make(map[string]string)}
	got := &Walk{intro: w.intro}
	for _, s := range w.steps {
		if !s.keys || target.Keys != nil {
			if err := s.run(ctx, target, names); err != nil {
				return got.String(), fmt.Errorf("%s: %w", s.name, err)
			}
		}
		got.steps = append(got.steps, s)
	}
	return got.String(), nil
}

// run does the step, and puts what was answered in the place of what was wanted.
func (s *step) run(ctx context.Context, target Target, names *names) error {
	if s.deploy != nil {
		return target.Deploy(ctx, *s.deploy)
	}
	until := time.Now().Add(patience)
	for {
		status, kind, body, err := s.send(ctx, target, names)
		if err != nil {
			return err
		}
		if s.repeat && status != s.status && time.Now().Before(until) {
			select {
			case <-time.After(pause):
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		s.status, s.answer = status, names.normalize(kind, body)
		return nil
	}
}

func (s *step) send(ctx context.Context, target Target, names *names) (status int, kind string, body []byte, err error) {
	path, content := names.resolve(s.path), expand(names.resolve(s.body))
	r, err := http.NewRequestWithContext(ctx, s.method, target.URL+path, strings.NewReader(content))
	if err != nil {
		return 0, "", nil, err
	}
	if content != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	who := s.as
	if who == "" {
		who = "operator"
	}
	if target.Keys != nil && who != "nobody" {
		key, ok := target.Keys[who]
		if !ok {
			return 0, "", nil, errors.New("the target has no key " + who)
		}
		r.Header.Set("Authorization", "Bearer "+key)
	}
	if target.Keys == nil {
		r.Header.Set("X-Peerless-User", who)
	}
	for _, h := range s.header {
		r.Header.Set(h[0], names.resolve(h[1]))
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", nil, err
	}
	defer response.Body.Close()
	body, err = io.ReadAll(response.Body)
	return response.StatusCode, response.Header.Get("Content-Type"), body, err
}
