package stack

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"
)

// A SettingError is something that whoever runs Peerless has to set right. Its text says what and how.
type SettingError struct {
	Setting string // credentials, region, stack, permission, clock, role, architecture, size, limit, endpoint
	Text    string
	Cause   error // may be nil
}

func (e *SettingError) Error() string { return e.Text }
func (e *SettingError) Unwrap() error { return e.Cause }

// CheckRegion returns a *SettingError if a configuration names no region.
func CheckRegion(config aws.Config) error {
	if config.Region == "" {
		return &SettingError{"region", "no AWS region is set: set AWS_REGION, or region in ~/.aws/config", nil}
	}
	return nil
}

// refused finds the action in what AWS says to who may not do it.
var refused = regexp.MustCompile(`not authorized to perform: ([a-zA-Z0-9:]+)`)

// explain makes of what AWS answered, or of why it could not be asked, an error that names the setting. operation is what was done, and
// is part of the text where the cause is none of the settings.
func explain(operation string, err error) error {
	var api smithy.APIError
	var dial *net.OpError
	switch {
	case errors.As(err, &api):
		if e := explainCode(operation, api); e != nil {
			e.Cause = err
			return e
		}
	case errors.As(err, &dial):
		return &SettingError{"endpoint", fmt.Sprintf("%s: AWS cannot be reached (%v): check the network, AWS_REGION and AWS_ENDPOINT_URL", operation, dial), err}
	case isAboutCredentials(err):
		return &SettingError{"credentials", "there are no AWS credentials: run aws sso login, or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", err}
	}
	return fmt.Errorf("%s: %w", operation, err)
}

// isAboutCredentials: the SDK has no error type for having found none; it says which of its steps failed.
func isAboutCredentials(err error) bool {
	var operation *smithy.OperationError
	text := err.Error()
	return errors.As(err, &operation) && (strings.Contains(text, "get identity: get credentials") || strings.Contains(text, "failed to refresh cached credentials"))
}

func explainCode(operation string, api smithy.APIError) *SettingError {
	code, message := api.ErrorCode(), api.ErrorMessage()
	switch code {
	case "AccessDeniedException", "AccessDenied", "UnauthorizedOperation":
		action := "what it takes"
		if m := refused.FindStringSubmatch(message); m != nil {
			action = m[1]
		}
		return &SettingError{"permission", fmt.Sprintf("%s: the credentials may not %s: have it allowed (the package comment of shared/stack lists what a deployment needs)", operation, action), nil}
	case "ExpiredToken", "ExpiredTokenException", "UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId":
		return &SettingError{"credentials", fmt.Sprintf("%s: AWS does not accept the credentials (%s): run aws sso login, or set AWS_PROFILE", operation, code), nil}
	case "RequestTimeTooSkewed", "RequestExpired":
		return skewed(operation)
	case "InvalidSignatureException", "SignatureDoesNotMatch":
		if strings.Contains(message, "Signature expired") || strings.Contains(message, "Signature not yet current") {
			return skewed(operation)
		}
		return &SettingError{"credentials", operation + ": AWS does not accept the credentials' signature: check AWS_SECRET_ACCESS_KEY", nil}
	case "CodeStorageExceededException":
		return &SettingError{"limit", operation + ": the account's functions have no room for more code (75 GB): delete versions that nobody needs, or have the limit raised in Service Quotas", nil}
	case "TooManyRequestsException", "ThrottlingException":
		return &SettingError{"limit", operation + ": Lambda's API takes no more calls at the moment: try again in a minute", nil}
	case "RequestEntityTooLargeException":
		return tooLarge(operation, 0)
	case "ResourceConflictException":
		return &SettingError{"function", operation + ": another deployment of this function is under way: try again when it has ended", nil}
	case "InvalidParameterValueException":
		switch {
		case strings.Contains(message, "role"):
			return &SettingError{"role", fmt.Sprintf("%s: Lambda cannot use the contracts' role (%s): deploy the stack again", operation, message), nil}
		case strings.Contains(message, "Unzipped size"):
			return tooLarge(operation, 0)
		case strings.Contains(message, "ayer"):
			return &SettingError{"layer", fmt.Sprintf("%s: Lambda cannot use the adapter's layer (%s): deploy the stack again", operation, message), nil}
		}
	}
	return nil
}

func skewed(operation string) *SettingError {
	return &SettingError{"clock", operation + ": this machine's clock differs from AWS's by more than 5 minutes: set it right", nil}
}

func tooLarge(operation string, size int) *SettingError {
	had := ""
	if size > 0 {
		had = fmt.Sprintf(" and this has %d", size)
	}
	return &SettingError{"size", fmt.Sprintf("%s: Lambda takes a zip of at most %d bytes directly%s: build without debugging symbols (-ldflags=-s -w)", operation, MaxZip, had), nil}
}
