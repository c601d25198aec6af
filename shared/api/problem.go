package api

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// A Code names a kind of failure. Codes are stable: clients decide on them.
type Code string

// The codes of problems.
const (
	CodeInvalidRequest      Code = "INVALID_REQUEST"
	CodeUnauthenticated     Code = "UNAUTHENTICATED"
	CodeForbidden           Code = "FORBIDDEN"
	CodeNotFound            Code = "NOT_FOUND"
	CodeMethodNotAllowed    Code = "METHOD_NOT_ALLOWED"
	CodeAlreadyExists       Code = "ALREADY_EXISTS"
	CodeUnsupportedMedia    Code = "UNSUPPORTED_MEDIA_TYPE"
	CodeTooLarge            Code = "TOO_LARGE"
	CodeChaincodeError      Code = "CHAINCODE_ERROR"
	CodeIdempotencyReused   Code = "IDEMPOTENCY_KEY_REUSED"
	CodeMVCCReadConflict    Code = "MVCC_READ_CONFLICT"
	CodePhantomReadConflict Code = "PHANTOM_READ_CONFLICT"
	CodeEndorsementPolicy   Code = "ENDORSEMENT_POLICY_FAILURE"
	CodeTransactionInvalid  Code = "TRANSACTION_INVALID"
	CodeQuotaExceeded       Code = "QUOTA_EXCEEDED"
	CodeInternal            Code = "INTERNAL"
	CodeChaincodeCrashed    Code = "CHAINCODE_CRASHED"
	CodeUnavailable         Code = "UNAVAILABLE"
	CodeOutcomeUnknown      Code = "OUTCOME_UNKNOWN"
	CodeChaincodeTimeout    Code = "CHAINCODE_TIMEOUT"
)

// codes gives each code its HTTP status and title.
var codes = map[Code]struct {
	status int
	title  string
}{
	CodeInvalidRequest:      {http.StatusBadRequest, "The request is not valid"},
	CodeUnauthenticated:     {http.StatusUnauthorized, "A valid API key is needed"},
	CodeForbidden:           {http.StatusForbidden, "Not allowed"},
	CodeNotFound:            {http.StatusNotFound, "Not found"},
	CodeMethodNotAllowed:    {http.StatusMethodNotAllowed, "Method not allowed"},
	CodeAlreadyExists:       {http.StatusConflict, "It exists already"},
	CodeUnsupportedMedia:    {http.StatusUnsupportedMediaType, "Content type not supported"},
	CodeTooLarge:            {http.StatusRequestEntityTooLarge, "Too large"},
	CodeChaincodeError:      {http.StatusUnprocessableEntity, "The contract returned an error"},
	CodeIdempotencyReused:   {http.StatusUnprocessableEntity, "The idempotency key belongs to another request"},
	CodeMVCCReadConflict:    {http.StatusConflict, "Another transaction changed what this one read"},
	CodePhantomReadConflict: {http.StatusConflict, "Another transaction changed a range that this one read"},
	CodeEndorsementPolicy:   {http.StatusConflict, "The endorsement policy is not met"},
	CodeTransactionInvalid:  {http.StatusConflict, "The transaction was found invalid"},
	CodeQuotaExceeded:       {http.StatusTooManyRequests, "Quota exceeded"},
	CodeInternal:            {http.StatusInternalServerError, "Internal error"},
	CodeChaincodeCrashed:    {http.StatusBadGateway, "The contract crashed"},
	CodeUnavailable:         {http.StatusServiceUnavailable, "Not available at the moment"},
	CodeOutcomeUnknown:      {http.StatusServiceUnavailable, "The outcome is unknown"},
	CodeChaincodeTimeout:    {http.StatusGatewayTimeout, "The contract took too long"},
}

// Status returns the HTTP status that goes with the code: 500 for one that is not listed.
func (c Code) Status() int {
	if known, ok := codes[c]; ok {
		return known.status
	}
	return http.StatusInternalServerError
}

// A Problem is a failure as a caller sees it: the body of every answer that is not a success, and an error. Its fields
// beyond Code and Detail are there where they apply.
type Problem struct {
	Code            Code
	Detail          string        // what happened to this request, and what to do about it
	TransactionID   string        // the transaction that failed, or to ask about
	ChaincodeStatus int32         // the status of the contract's response
	ValidationCode  string        // Fabric's name of the verdict
	Field           string        // which part of the request is wrong: a JSON field, a query parameter, a header
	Limit           int64         // the limit that was exceeded, in bytes
	GRPC            *GRPCStatus   // of a request that the client signed itself
	RetryAfter      time.Duration // when to try again; a header, in whole seconds
	Allow           string        // the methods there are; a header

	cause error // for the server's log alone
}

// Unwrap returns what the caller is not told.
func (p *Problem) Unwrap() error { return p.cause }

// Error returns the code and the detail.
func (p *Problem) Error() string { return string(p.Code) + ": " + p.Detail }

// MarshalJSON gives the members of RFC 9457 and Peerless's own.
func (p *Problem) MarshalJSON() ([]byte, error) {
	known := codes[p.Code]
	return json.Marshal(struct {
		Type            string `json:"type"`
		Title           string `json:"title"`
		Status          int    `json:"status"`
		Detail          string `json:"detail,omitempty"`
		Code            Code   `json:"code"`
		TransactionID   string `json:"transactionId,omitempty"`
		ChaincodeStatus int32  `json:"chaincodeStatus,omitempty"`
		ValidationCode  string `json:"validationCode,omitempty"`
		Field           string `json:"field,omitempty"`
		Limit           int64  `json:"limit,omitempty"`

		GRPC *GRPCStatus `json:"grpcStatus,omitempty"`
	}{
		"urn:peerless:error:" + string(p.Code), known.title, p.Code.Status(), p.Detail, p.Code,
		p.TransactionID, p.ChaincodeStatus, p.ValidationCode, p.Field, p.Limit, p.GRPC,
	})
}

// ServeHTTP answers every request with the problem.
func (p *Problem) ServeHTTP(w http.ResponseWriter, _ *http.Request) { p.write(w) }

// write sends the problem. HEAD requests get the header alone, by net/http.
func (p *Problem) write(w http.ResponseWriter) {
	body, err := json.Marshal(p)
	if err != nil { // strings and numbers only: cannot fail
		body = []byte(`{"code":"INTERNAL","status":500}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(body)+1))
	h.Set("Cache-Control", "no-store")
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((p.RetryAfter+time.Second-1)/time.Second)))
	}
	if p.Allow != "" {
		h.Set("Allow", p.Allow)
	}
	if p.Code == CodeUnauthenticated {
		h.Set("WWW-Authenticate", `Bearer realm="peerless"`)
	}
	w.WriteHeader(p.Code.Status())
	w.Write(append(body, '\n'))
}

// invalid is a request that is wrong at field.
func invalid(field, detail string) *Problem {
	return &Problem{Code: CodeInvalidRequest, Field: field, Detail: detail}
}
