package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	gatewaypb "github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
)

// A GRPCStatus is what Fabric's gateway answers over gRPC.
type GRPCStatus struct {
	Code    string `json:"code"` // ABORTED and the like
	Message string `json:"message"`
	Details []struct {
		MSPID   string `json:"mspId"`
		Message string `json:"message"`
	} `json:"details"`
}

// A GatewayConn carries the Fabric Gateway client's calls over HTTP: give it to client.WithClientConnection where there is no
// gRPC, as in front of Lambda. Evaluate, endorse, submit and commit status work; streams of events do not, and return
// codes.Unimplemented.
type GatewayConn struct {
	client       *Client
	organization string
}

var _ grpc.ClientConnInterface = (*GatewayConn)(nil)

// GatewayConn returns a connection to the gateway of an organisation, or to that of each signer's own if mspID is empty.
func (c *Client) GatewayConn(mspID string) *GatewayConn { return &GatewayConn{c, mspID} }

// gatewayCalls are the routes of the calls.
var gatewayCalls = map[string]string{
	gatewaypb.Gateway_Evaluate_FullMethodName:     "evaluate",
	gatewaypb.Gateway_Endorse_FullMethodName:      "endorse",
	gatewaypb.Gateway_Submit_FullMethodName:       "submit",
	gatewaypb.Gateway_CommitStatus_FullMethodName: "commit-status",
}

// Invoke sends one call. Its errors have the gRPC status and details that the gateway gives.
func (g *GatewayConn) Invoke(ctx context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	name, known := gatewayCalls[method]
	request, isMessage := args.(proto.Message)
	answer, takesMessage := reply.(proto.Message)
	if !known || !isMessage || !takesMessage {
		return status.Errorf(codes.Unimplemented, "%s is not served over HTTP", method)
	}
	channel, err := requestChannel(request)
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	body, err := proto.Marshal(request)
	if err != nil {
		return status.Error(codes.Internal, err.Error())
	}
	path := channelPath(channel) + "/gateway/" + name
	if g.organization != "" {
		path += "?organization=" + url.QueryEscape(g.organization)
	}
	response, err := g.client.send(ctx, call{http.MethodPost, path, bytes.NewReader(body), []string{"Content-Type", "application/x-protobuf"}})
	if err != nil {
		return statusOf(ctx, err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		return statusOf(ctx, err)
	}
	if err := proto.Unmarshal(raw, answer); err != nil {
		return status.Errorf(codes.Internal, "%s: the answer is not a message: %v", path, err)
	}
	return nil
}

// NewStream returns codes.Unimplemented.
func (g *GatewayConn) NewStream(_ context.Context, _ *grpc.StreamDesc, method string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, status.Errorf(codes.Unimplemented, "%s is not served over HTTP", method)
}

// requestChannel is the channel that a request names.
func requestChannel(request proto.Message) (string, error) {
	switch r := request.(type) {
	case interface{ GetChannelId() string }:
		return r.GetChannelId(), nil
	case *gatewaypb.SignedCommitStatusRequest:
		var inner gatewaypb.CommitStatusRequest
		if err := proto.Unmarshal(r.GetRequest(), &inner); err != nil {
			return "", fmt.Errorf("commit status request: %w", err)
		}
		return inner.GetChannelId(), nil
	}
	return "", fmt.Errorf("%T names no channel", request)
}

// statusOf makes a gRPC status of what went wrong.
func statusOf(ctx context.Context, err error) error {
	var problem *Problem
	switch {
	case ctx.Err() != nil:
		return status.FromContextError(ctx.Err()).Err()
	case !errors.As(err, &problem):
		return status.Error(codes.Unavailable, err.Error())
	case problem.GRPC == nil:
		return status.Error(httpCode(problem.Status), problem.Error())
	}
	st := status.New(codes.Code(code.Code_value[problem.GRPC.Code]), problem.GRPC.Message)
	var details []protoadapt.MessageV1
	for _, d := range problem.GRPC.Details {
		details = append(details, protoadapt.MessageV1Of(&gatewaypb.ErrorDetail{MspId: d.MSPID, Message: d.Message}))
	}
	if with, err := st.WithDetails(details...); err == nil {
		st = with
	}
	return st.Err()
}

// httpCode is the gRPC code of an HTTP status, as gRPC itself maps it where a server does not speak gRPC.
func httpCode(httpStatus int) codes.Code {
	switch httpStatus {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType:
		return codes.InvalidArgument
	case http.StatusUnauthorized:
		return codes.Unauthenticated
	case http.StatusForbidden:
		return codes.PermissionDenied
	case http.StatusNotFound:
		return codes.Unimplemented
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return codes.Unavailable
	}
	return codes.Unknown
}
