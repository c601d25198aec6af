package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"peerless/shared/ledger"
)

// explain says what an error of the SDK means: for whoever set this up, which setting is wrong; for a caller, that it may go well
// later. Others stay as they are.
func explain(table string, err error) error {
	if err == nil {
		return nil
	}
	var missing *types.ResourceNotFoundException
	var api smithy.APIError
	var response *smithyhttp.ResponseError
	var unsent *smithyhttp.RequestSendError
	var network net.Error
	hint := ""
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.As(err, &missing):
		hint = fmt.Sprintf("table %q does not exist in this region and account: check the table's name and AWS_REGION, or create it", table)
	case errors.As(err, &api):
		switch code := api.ErrorCode(); {
		case code == "AccessDeniedException":
			hint = fmt.Sprintf("these credentials may not do this on table %q: check the role's policy", table)
		case slices.Contains(badCredentials, code):
			hint = "the credentials are not valid here: check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN"
		case slices.Contains(badSignature, code):
			hint = "the signature was refused: check this machine's clock, then AWS_SECRET_ACCESS_KEY"
		case slices.Contains(throttled, code), errors.As(err, &response) && response.HTTPStatusCode() >= 500:
			return fmt.Errorf("%w: %w", ledger.ErrUnavailable, err)
		}
	case errors.As(err, &unsent), errors.As(err, &network), errors.As(err, &response) && response.HTTPStatusCode() >= 500:
		return fmt.Errorf("%w: the endpoint does not answer: check AWS_REGION and the endpoint's address: %w", ledger.ErrUnavailable, err)
	}
	if hint == "" {
		return err
	}
	return fmt.Errorf("%s: %w", hint, err)
}

// Codes of errors: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
var (
	badCredentials = []string{"UnrecognizedClientException", "InvalidClientTokenId", "MissingAuthenticationToken",
		"MissingAuthenticationTokenException", "ExpiredTokenException", "IncompleteSignatureException"}
	badSignature = []string{"RequestTimeTooSkewed", "RequestExpired", "InvalidSignatureException", "SignatureDoesNotMatch"}
	throttled    = []string{"ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded", "InternalServerError",
		"ServiceUnavailable", "LimitExceededException", "ReplicatedWriteConflictException", "TransactionInProgressException"}
)
