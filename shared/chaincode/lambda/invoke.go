package lambda

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"

	"peerless/shared/chaincode"
	"peerless/shared/invocation"
)

// invoke runs a batch in the function and returns its results, one for each. A function that knows only an older version of the
// format is asked again in that.
func (h *Host) invoke(ctx context.Context, batch []*job) ([]invocation.Result, error) {
	credentials, err := h.Credentials(ctx, h.Channel, h.Chaincode)
	if err != nil {
		return nil, fmt.Errorf("%w: credentials for function %s: %w", chaincode.ErrUnavailable, h.Function, err)
	}
	request := &invocation.Request{
		Channel: h.Channel, Chaincode: h.Chaincode,
		State: invocation.State{Table: h.Table, Region: h.Region, Endpoint: h.Endpoint, Credentials: credentials},
	}
	for _, j := range batch {
		p := *j.proposal
		if len(batch) > 1 {
			p.Time = min(p.Time, invocation.MillisOf(h.BatchTime))
		}
		request.Proposals = append(request.Proposals, p)
	}
	h.mu.Lock()
	request.Version = h.version
	h.mu.Unlock()
	response, err := h.exchange(ctx, request)
	var version *invocation.VersionError
	if errors.As(err, &version) {
		if common := invocation.Common(version.Spoken); common != 0 && common != request.Version {
			request.Version = common
			if response, err = h.exchange(ctx, request); err == nil {
				h.mu.Lock()
				h.version = common
				h.mu.Unlock()
			}
		}
	}
	if errors.As(err, &version) {
		return nil, fmt.Errorf("%w: function %s: %w", chaincode.ErrUnavailable, h.Function, version)
	}
	if err != nil {
		return nil, err
	}
	return h.results(batch, response)
}

// exchange sends a request and returns the answer.
func (h *Host) exchange(ctx context.Context, request *invocation.Request) (*invocation.Response, error) {
	payload, err := request.Marshal()
	if err != nil {
		return nil, err
	}
	out, err := h.Client.Invoke(ctx, &lambda.InvokeInput{FunctionName: &h.Function, Payload: payload})
	if err != nil {
		return nil, h.explain(err)
	}
	if out.FunctionError != nil {
		return nil, h.failure(out.Payload)
	}
	response, err := invocation.ParseResponse(out.Payload, request.Version)
	if err != nil {
		if version := (*invocation.VersionError)(nil); errors.As(err, &version) {
			return nil, err
		}
		return nil, fmt.Errorf("%w: function %s: %w", chaincode.ErrProtocol, h.Function, err)
	}
	return response, nil
}

// results checks that an answer has what was asked for.
func (h *Host) results(batch []*job, response *invocation.Response) ([]invocation.Result, error) {
	switch {
	case response.Error != nil && response.Error.Code == invocation.WrongContract:
		return nil, fmt.Errorf("%w: function %s: %s", chaincode.ErrUnavailable, h.Function, response.Error.Message)
	case response.Error != nil:
		return nil, fmt.Errorf("%w: function %s: %s", chaincode.ErrProtocol, h.Function, response.Error.Message)
	case len(response.Results) != len(batch):
		return nil, fmt.Errorf("%w: function %s answered %d proposals with %d results", chaincode.ErrProtocol, h.Function, len(batch), len(response.Results))
	}
	for i, r := range response.Results {
		if want := batch[i].txID; r.TxID != "" && r.TxID != want {
			return nil, fmt.Errorf("%w: function %s answered transaction %s with the result of %s", chaincode.ErrProtocol, h.Function, want, r.TxID)
		}
	}
	return response.Results, nil
}

// failure says what a function's failure means: the error that Lambda or its runtime reported.
func (h *Host) failure(payload []byte) error {
	var failed struct{ ErrorType, ErrorMessage string }
	if err := json.Unmarshal(payload, &failed); err != nil {
		return fmt.Errorf("%w: function %s failed and does not say how", chaincode.ErrCrashed, h.Function)
	}
	h.Logger.Warn("the function failed", "type", failed.ErrorType, "message", failed.ErrorMessage)
	condition, hint := chaincode.ErrCrashed, ""
	switch {
	case failed.ErrorType == invocation.StuckType:
		condition = chaincode.ErrTimeout
	case failed.ErrorType == "Sandbox.Timedout", strings.Contains(failed.ErrorMessage, "Task timed out"):
		condition, hint = chaincode.ErrTimeout, "its Timeout setting is over, in which its start counts when that takes more than 10 s"
	case failed.ErrorType == "Function.ResponseSizeTooLarge":
		condition = chaincode.ErrTooLarge
	case failed.ErrorType == "Peerless.Init":
		condition, hint = chaincode.ErrUnavailable, "it does not start"
	case failed.ErrorType == "Runtime.InvalidEntrypoint" && strings.Contains(failed.ErrorMessage, "exec format error"):
		condition, hint = chaincode.ErrUnavailable, "its bootstrap is for another processor than its architecture setting says: build it with GOARCH=arm64, or deploy it as x86_64"
	case failed.ErrorType == "Runtime.InvalidEntrypoint":
		condition, hint = chaincode.ErrUnavailable, "its package has no executable file named bootstrap"
	}
	if hint != "" {
		hint += ": "
	}
	return fmt.Errorf("%w: function %s: %s%s: %s", condition, h.Function, hint, failed.ErrorType, failed.ErrorMessage)
}

// explain says which setting is wrong when the API refuses an invocation.
func (h *Host) explain(err error) error {
	var large *types.RequestTooLargeException
	if errors.As(err, &large) {
		return fmt.Errorf("%w: function %s: %s", chaincode.ErrTooLarge, h.Function, aws.ToString(large.Message))
	}
	hint := ""
	var api smithy.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode() {
		case "ResourceNotFoundException":
			hint = "there is no such function, version or alias in this region and account: deploy the chaincode, or check AWS_REGION: "
		case "AccessDeniedException":
			hint = "the gateway's role may not invoke it: allow it lambda:InvokeFunction on the function, alias included: "
		case "TooManyRequestsException":
			hint = "all the concurrency it may have is taken: raise its reserved concurrency or the account's: "
		case "ResourceConflictException", "ResourceNotReadyException":
			hint = "it is being created or updated: wait until it is active: "
		case "UnrecognizedClientException", "InvalidClientTokenId", "ExpiredTokenException", "MissingAuthenticationTokenException":
			hint = "the gateway's credentials are not valid: check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN: "
		case "InvalidSignatureException", "SignatureDoesNotMatch", "RequestExpired", "RequestTimeTooSkewed":
			hint = "the signature was refused: check this machine's clock: "
		}
	}
	return fmt.Errorf("%w: invoke function %s: %s%w", chaincode.ErrUnavailable, h.Function, hint, err)
}
