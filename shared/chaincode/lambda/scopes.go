package lambda

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"peerless/shared/invocation"
	"peerless/shared/ledger"
	"peerless/shared/store/dynamodb"
)

const (
	// sessionTime is how long scoped credentials last: the most for a role that is assumed by a role.
	sessionTime = time.Hour
	// renewBefore is how long before their end they are not given out any more: longer than an invocation takes.
	renewBefore = 5 * time.Minute
	// maxPolicy is the size of a session policy, in characters:
	// https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
	maxPolicy = 2048
)

// An AssumeRole is what Scopes needs of STS. *sts.Client of the SDK is one.
type AssumeRole interface {
	AssumeRole(context.Context, *sts.AssumeRoleInput, ...func(*sts.Options)) (*sts.AssumeRoleOutput, error)
}

// Scopes makes the credentials that functions read the state with: sessions of one role, each restricted by a session policy
// to the partitions of one chaincode's namespace on one channel. They are kept until shortly before they expire.
type Scopes struct {
	client AssumeRole
	role   string
	table  string
	clock  func() time.Time

	mu     sync.Mutex
	scopes map[[2]string]*scope
}

type scope struct {
	mu          sync.Mutex // held while they are renewed: who comes meanwhile waits
	credentials invocation.Credentials
	expires     time.Time
}

// NewScopes returns the scopes of a role, whose own policy must allow dynamodb:GetItem, BatchGetItem and Query on the table. role
// and table are ARNs.
func NewScopes(client AssumeRole, role, table string) *Scopes {
	return &Scopes{client: client, role: role, table: table, clock: time.Now, scopes: make(map[[2]string]*scope)}
}

// Credentials returns credentials for a chaincode's namespace on a channel.
func (s *Scopes) Credentials(ctx context.Context, channel, chaincode string) (invocation.Credentials, error) {
	s.mu.Lock()
	of := s.scopes[[2]string{channel, chaincode}]
	if of == nil {
		of = &scope{}
		s.scopes[[2]string{channel, chaincode}] = of
	}
	s.mu.Unlock()

	of.mu.Lock()
	defer of.mu.Unlock()
	if s.clock().Before(of.expires.Add(-renewBefore)) {
		return of.credentials, nil
	}
	policy, err := SessionPolicy(s.table, channel, chaincode)
	if err != nil {
		return invocation.Credentials{}, err
	}
	out, err := s.client.AssumeRole(ctx, &sts.AssumeRoleInput{
		RoleArn: &s.role, RoleSessionName: aws.String(sessionName(channel, chaincode)), Policy: &policy, DurationSeconds: aws.Int32(int32(sessionTime.Seconds())),
	})
	if err != nil {
		return invocation.Credentials{}, s.explain(err)
	}
	c := out.Credentials
	if c == nil {
		return invocation.Credentials{}, fmt.Errorf("assume role %s: no credentials in the answer", s.role)
	}
	of.credentials = invocation.Credentials{
		AccessKeyID: aws.ToString(c.AccessKeyId), SecretAccessKey: aws.ToString(c.SecretAccessKey), SessionToken: aws.ToString(c.SessionToken),
	}
	of.expires = aws.ToTime(c.Expiration)
	return of.credentials, nil
}

// SessionPolicy returns the policy, a JSON document, of a session that reads a chaincode's namespace on a channel. table is an
// ARN. A request that names no partition key is not allowed, nor is a scan. Names of channels and chaincodes have no wildcards.
func SessionPolicy(table, channel, chaincode string) (string, error) {
	type statement struct {
		Effect    string
		Action    []string
		Resource  string
		Condition map[string]map[string]any
	}
	document, err := json.Marshal(struct {
		Version   string
		Statement []statement
	}{"2012-10-17", []statement{{
		"Allow", []string{"dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:Query"}, table,
		map[string]map[string]any{
			"ForAllValues:StringLike": {"dynamodb:LeadingKeys": []string{
				dynamodb.StatePartition(channel, chaincode), dynamodb.HistoryPartition(channel, chaincode),
				dynamodb.StatePartition(channel, ledger.IndexNamespaces(chaincode)) + "*", dynamodb.HistoryPartition(channel, ledger.IndexNamespaces(chaincode)) + "*",
			}},
			"Null": {"dynamodb:LeadingKeys": "false"},
		},
	}}})
	if err != nil {
		return "", fmt.Errorf("session policy: %w", err)
	}
	if len(document) > maxPolicy {
		return "", fmt.Errorf("session policy: %d characters, the limit is %d: the names of channel %s and chaincode %s are too long together", len(document), maxPolicy, channel, chaincode)
	}
	return string(document), nil
}

var unnameable = regexp.MustCompile(`[^\w+=,.@-]`)

// sessionName is what the audit log shows of a session: at most 64 characters of its alphabet.
func sessionName(channel, chaincode string) string {
	name := unnameable.ReplaceAllString("peerless-"+channel+"-"+chaincode, "-")
	return name[:min(len(name), 64)]
}

func (s *Scopes) explain(err error) error {
	hint := ""
	var api smithy.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode() {
		case "AccessDenied", "AccessDeniedException":
			hint = "the gateway's role may not assume it: allow it sts:AssumeRole on the role, and trust it in the role: "
		case "InvalidClientTokenId", "UnrecognizedClientException", "ExpiredToken", "ExpiredTokenException":
			hint = "the gateway's credentials are not valid: check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN: "
		case "SignatureDoesNotMatch", "InvalidSignatureException":
			hint = "the signature was refused: check this machine's clock: "
		case "RegionDisabledException":
			hint = "STS is not active in this region: check AWS_REGION: "
		}
	}
	return fmt.Errorf("assume role %s: %s%w", s.role, hint, err)
}
