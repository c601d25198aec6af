package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"net/http"
)

// OpenAPI is the OpenAPI 3.1 document of this API.
//
//go:embed openapi.json
var OpenAPI []byte

//go:embed docs.html
var docsHTML []byte

// docsPolicy lets the page run its own script, and speak to this server, and nothing else.
var docsPolicy = fmt.Sprintf("default-src 'none'; style-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; script-src '%s'", scriptHash(docsHTML))

// scriptHash is the Content-Security-Policy source of the page's one script.
func scriptHash(page []byte) string {
	_, script, _ := bytes.Cut(page, []byte("<script>"))
	script, _, _ = bytes.Cut(script, []byte("</script>"))
	sum := sha256.Sum256(script)
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// file is a document that is part of the program.
type file struct {
	contentType, policy string
	body                []byte
}

func (f *file) respond(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Cache-Control", "no-cache")
	if f.policy != "" {
		w.Header().Set("Content-Security-Policy", f.policy)
	}
	writeBody(w, http.StatusOK, f.contentType, f.body)
	return nil
}

func (h *Handler) openAPI(context.Context, *Principal, none) (*file, error) {
	return &file{"application/json", "", OpenAPI}, nil
}

func (h *Handler) docs(context.Context, *Principal, none) (*file, error) {
	return &file{"text/html; charset=utf-8", docsPolicy, docsHTML}, nil
}

type healthView struct {
	Status string `json:"status"`
}

// health answers 200 when the platform can commit.
func (h *Handler) health(ctx context.Context, _ *Principal, _ none) (*healthView, error) {
	if h.Healthy != nil {
		if err := h.Healthy(ctx); err != nil {
			return nil, &Problem{Code: CodeUnavailable, Detail: "the platform cannot commit: " + err.Error()}
		}
	}
	return &healthView{"ok"}, nil
}
