package api

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"

	gatewaypb "github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/protobuf/proto"

	"peerless/shared/gateway"
)

// FabricGateway serves requests that clients sign for themselves, in the messages of Fabric's gateway service. They prove
// themselves: no key is needed.
type FabricGateway interface {
	Evaluate(context.Context, *gatewaypb.EvaluateRequest) (*gatewaypb.EvaluateResponse, error)
	Endorse(context.Context, *gatewaypb.EndorseRequest) (*gatewaypb.EndorseResponse, error)
	Submit(context.Context, *gatewaypb.SubmitRequest) (*gatewaypb.SubmitResponse, error)
	CommitStatus(context.Context, *gatewaypb.SignedCommitStatusRequest) (*gatewaypb.CommitStatusResponse, error)
}

var _ FabricGateway = (*gateway.Endpoint)(nil)

// signed is a client's own message, for a channel.
type signed[M proto.Message] struct {
	gateway FabricGateway
	message M
}

// handleSigned is the endpoint of one of the gateway's calls.
func handleSigned[M, A proto.Message](h *Handler, message func() M, channel func(M) string, call func(FabricGateway, context.Context, M) (A, error)) http.HandlerFunc {
	decode := func(q *request) (in signed[M], err error) {
		if in.gateway, err = h.fabric(q); err != nil {
			return in, err
		}
		in.message = message()
		if err := q.readMessage(in.message); err != nil {
			return in, err
		}
		if named := channel(in.message); named != q.channel {
			return in, invalid("channel", "the message is for channel "+named+", not for the one in the path")
		}
		return in, nil
	}
	return handle(h, scopePublic, decode, func(ctx context.Context, _ *Principal, in signed[M]) (messageBody, error) {
		ctx, cancel := context.WithTimeout(ctx, MaxWait)
		defer cancel()
		answer, err := call(in.gateway, ctx, in.message)
		if err != nil {
			return messageBody{}, withStatus(err)
		}
		return messageBody{answer}, nil
	})
}

// fabric returns the gateway that a request is for: of the organisation in its query, or of its signer's.
func (h *Handler) fabric(q *request) (FabricGateway, error) {
	if h.Fabric == nil {
		return nil, &Problem{Code: CodeNotFound, Detail: "this server takes no transactions that clients sign for themselves"}
	}
	if err := checkChannel("channel", q.channel); err != nil {
		return nil, err
	}
	query, err := parseQuery(q.Request, "organization")
	if err != nil {
		return nil, err
	}
	organization := ""
	if values := query["organization"]; len(values) > 0 {
		organization = values[0]
	}
	return h.Fabric(organization), nil
}

// readMessage reads a body that is one of Fabric's messages.
func (q *request) readMessage(into proto.Message) error {
	if kind, _, err := mime.ParseMediaType(q.Header.Get("Content-Type")); err != nil || kind != mediaProtobuf {
		return &Problem{Code: CodeUnsupportedMedia, Field: "Content-Type", Detail: "send Fabric's message, with Content-Type: " + mediaProtobuf}
	}
	body, err := io.ReadAll(http.MaxBytesReader(q.w, q.Body, MaxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return err
	case err != nil:
		return invalid("", "the body could not be read to its end")
	}
	if err := proto.Unmarshal(body, into); err != nil {
		return invalid("", "the body is not a message of "+string(into.ProtoReflect().Descriptor().FullName()))
	}
	return nil
}

// messageBody is an answer in Fabric's form.
type messageBody struct{ proto.Message }

func (m messageBody) respond(w http.ResponseWriter, _ *http.Request) error {
	body, err := proto.Marshal(m.Message)
	if err != nil {
		return err
	}
	writeBody(w, http.StatusOK, mediaProtobuf, body)
	return nil
}

// A GRPCStatus is what Fabric's gateway would have answered over gRPC.
type GRPCStatus struct {
	Code    string       `json:"code"` // ABORTED and the like
	Message string       `json:"message"`
	Details []GRPCDetail `json:"details,omitempty"`
}

// A GRPCDetail is what one organisation's endorser said: Fabric's gateway.ErrorDetail.
type GRPCDetail struct {
	MSPID   string `json:"mspId"`
	Message string `json:"message"`
}

// withStatus is the problem of an error with the gRPC status in it.
func withStatus(err error) error {
	var failure *gateway.Error
	if !errors.As(err, &failure) {
		return err
	}
	p := problemOfGateway(failure)
	p.GRPC = &GRPCStatus{Code: code.Code(failure.Code).String(), Message: failure.Message}
	for _, d := range failure.Details {
		p.GRPC.Details = append(p.GRPC.Details, GRPCDetail{d.MSPID, d.Message})
	}
	if p.Code == CodeInternal || p.Code == CodeOutcomeUnknown {
		return errors.Join(p, err) // the log has the cause
	}
	return p
}

// commitChannel is the channel that a commit status request names.
func commitChannel(m *gatewaypb.SignedCommitStatusRequest) string {
	var inner gatewaypb.CommitStatusRequest
	if proto.Unmarshal(m.GetRequest(), &inner) != nil {
		return ""
	}
	return inner.GetChannelId()
}

// signedRoutes are the gateway's calls below a channel.
func (h *Handler) signedRoutes(channel string) []route {
	return []route{
		{"POST", channel + "/gateway/evaluate", handleSigned(h, func() *gatewaypb.EvaluateRequest { return &gatewaypb.EvaluateRequest{} },
			(*gatewaypb.EvaluateRequest).GetChannelId, FabricGateway.Evaluate)},
		{"POST", channel + "/gateway/endorse", handleSigned(h, func() *gatewaypb.EndorseRequest { return &gatewaypb.EndorseRequest{} },
			(*gatewaypb.EndorseRequest).GetChannelId, FabricGateway.Endorse)},
		{"POST", channel + "/gateway/submit", handleSigned(h, func() *gatewaypb.SubmitRequest { return &gatewaypb.SubmitRequest{} },
			(*gatewaypb.SubmitRequest).GetChannelId, FabricGateway.Submit)},
		{"POST", channel + "/gateway/commit-status", handleSigned(h, func() *gatewaypb.SignedCommitStatusRequest { return &gatewaypb.SignedCommitStatusRequest{} },
			commitChannel, FabricGateway.CommitStatus)},
	}
}
