package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
)

// explain says what an error of the SDK means for whoever set this up: which setting is wrong. Others stay as they are.
func explain(table string, err error) error {
	if err == nil {
		return nil
	}
	hint := ""
	var missing *types.ResourceNotFoundException
	var api smithy.APIError
	var network net.Error
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
	case errors.As(err, &missing):
		hint = fmt.Sprintf("table %q does not exist in this region and account: check the table's name and AWS_REGION, or create it", table)
	case errors.As(err, &api):
		switch api.ErrorCode() {
		case "AccessDeniedException":
			hint = fmt.Sprintf("these credentials may not do this on table %q: check the role's policy", table)
		case "UnrecognizedClientException", "InvalidClientTokenId", "MissingAuthenticationToken", "MissingAuthenticationTokenException", "ExpiredTokenException":
			hint = "the credentials are not valid here: check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN"
		case "RequestTimeTooSkewed", "RequestExpired", "InvalidSignatureException", "SignatureDoesNotMatch":
			hint = "the signature was refused: check this machine's clock, then AWS_SECRET_ACCESS_KEY"
		}
	case errors.As(err, &network):
		hint = "the endpoint does not answer: check AWS_REGION and the endpoint's address"
	}
	if hint == "" {
		return err
	}
	return fmt.Errorf("%s: %w", hint, err)
}
