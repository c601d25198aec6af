package api

import (
	"context"
	"fmt"
	"strconv"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"peerless/shared/gateway"
)

// invocation is the body of submit and evaluate, and what its path and headers add.
type invocation struct {
	channel, chaincode string
	function           string
	args               [][]byte
	transient          map[string][]byte
	organizations      []string
	init               bool
	idempotencyKey     string
}

const headerIdempotencyKey = "Idempotency-Key"

func decodeInvocation(q *request) (*invocation, error) {
	in := &invocation{channel: q.channel, chaincode: q.chaincode}
	if values := q.Header[headerIdempotencyKey]; len(values) > 0 {
		in.idempotencyKey = values[0]
		if len(values) > 1 || in.idempotencyKey == "" || len(in.idempotencyKey) > MaxIdempotencyKey || !isVisible(in.idempotencyKey) {
			return nil, invalid(headerIdempotencyKey, fmt.Sprintf("send one Idempotency-Key of 1 to %d printable ASCII characters", MaxIdempotencyKey))
		}
	}
	body, err := q.readBody()
	if err != nil {
		return nil, err
	}
	if err := in.parse(body); err != nil {
		return nil, err
	}
	return in, in.checkSizes()
}

// parse reads the body. The invocation keeps it.
func (in *invocation) parse(body []byte) error {
	r := jsonReader{data: body}
	hasFunction := false
	err := r.fields(func(name string) (err error) {
		switch name {
		case "function":
			hasFunction = true
			in.function, err = r.text(name)
		case "args":
			in.args, err = r.texts(name)
		case "transient":
			in.transient, err = r.blobs(name)
		case "organizations":
			in.organizations, err = r.names(name)
		case "isInit":
			in.init, err = r.boolean(name)
		default:
			err = unknown(name, "function, args, transient, organizations, isInit")
		}
		return err
	})
	if err == nil && !hasFunction {
		err = invalid("function", `the field "function" is missing: {"function":"…","args":["…"]}`)
	}
	return err
}

// names reads a list of strings, or null, at path.
func (r *jsonReader) names(path string) ([]string, error) {
	texts, err := r.texts(path)
	if err != nil || texts == nil {
		return nil, err
	}
	names := make([]string, len(texts))
	for i, text := range texts {
		names[i] = string(text)
	}
	return names, nil
}

func (in *invocation) checkSizes() error {
	total := len(in.function)
	if total > MaxArgument {
		return argumentTooLarge("function", total)
	}
	for i, arg := range in.args {
		if len(arg) > MaxArgument {
			return argumentTooLarge("args["+strconv.Itoa(i)+"]", len(arg))
		}
		total += len(arg)
	}
	for name, value := range in.transient {
		if len(value) > MaxArgument {
			return argumentTooLarge("transient."+name, len(value))
		}
		total += len(name) + len(value)
	}
	if total > MaxTransaction {
		return &Problem{Code: CodeTooLarge, Limit: MaxTransaction,
			Detail: fmt.Sprintf("all arguments have %d bytes together, %d are allowed", total, MaxTransaction)}
	}
	return nil
}

func argumentTooLarge(field string, size int) error {
	return &Problem{Code: CodeTooLarge, Field: field, Limit: MaxArgument,
		Detail: fmt.Sprintf("%s has %d bytes, %d are allowed", field, size, MaxArgument)}
}

func (in *invocation) request(p *Principal) (gateway.Request, error) {
	user, err := p.Signer()
	if err != nil {
		return gateway.Request{}, fmt.Errorf("find the key of %q: %w", p.Name, err)
	}
	return gateway.Request{
		Channel: in.channel, Chaincode: in.chaincode, Function: in.function, Args: in.args, Transient: in.transient,
		User: user, IdempotencyKey: in.idempotencyKey, Organizations: in.organizations, Init: in.init,
	}, nil
}

// submit runs a transaction, and answers when it is committed. A repeat with the same Idempotency-Key gets the answer of
// the first.
func (h *Handler) submit(ctx context.Context, p *Principal, in *invocation) (*submitted, error) {
	request, err := in.request(p)
	if err != nil {
		return nil, err
	}
	outcome, err := h.Gateway.SubmitTransaction(ctx, request)
	if err != nil {
		return nil, err
	}
	if outcome.Code != peer.TxValidationCode_VALID {
		return nil, problemOfVerdict(outcome.TransactionID, outcome.Code)
	}
	return (*submitted)(outcome), nil
}

// evaluate runs a transaction on the current state and commits nothing.
func (h *Handler) evaluate(ctx context.Context, p *Principal, in *invocation) (*evaluated, error) {
	request, err := in.request(p)
	if err != nil {
		return nil, err
	}
	request.IdempotencyKey = ""
	answer, err := h.Gateway.EvaluateTransaction(ctx, request)
	return (*evaluated)(answer), err
}

type submitted gateway.Outcome

func (s *submitted) appendJSON(b []byte) []byte {
	b = append(b, `{"transactionId":`...)
	b = appendString(b, s.TransactionID)
	b = append(b, `,"blockNumber":`...)
	b = strconv.AppendUint(b, s.Block, 10)
	b = append(b, `,"code":`...)
	b = appendString(b, s.Code.String())
	b = appendResult(b, s.Response)
	return append(b, '}')
}

type evaluated gateway.Answer

func (a *evaluated) appendJSON(b []byte) []byte {
	b = append(b, `{"height":`...)
	b = strconv.AppendUint(b, a.Height, 10)
	b = appendResult(b, a.Response)
	return append(b, '}')
}

func appendResult(b []byte, response *peer.Response) []byte {
	b = append(b, `,"result":`...)
	b, encoding := appendPayload(b, response.GetPayload())
	if encoding != "" {
		b = append(b, `,"resultEncoding":"`...)
		b = append(append(b, encoding...), '"')
	}
	return b
}
