package cloud

import (
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"peerless/shared/node"
)

// StageLocal is the stage that needs nothing of AWS.
const StageLocal = "local"

// A Config says where the parts of a deployment are. template.yaml sets the variables from the stack's own resources, and Lambda those that
// begin with AWS_. All but Stage is required in every stage but local, unless it has a default or says that it may be empty.
type Config struct {
	// Stage names the deployment in logs and metrics. PEERLESS_STAGE.
	Stage string
	// Organization is the MSP id of the platform's own organisation. PEERLESS_ORGANIZATION, default node.DefaultOrganization.
	Organization string

	// Ledger and Control are the names of the tables. PEERLESS_LEDGER_TABLE, PEERLESS_CONTROL_TABLE.
	Ledger, Control string
	// Key is the ARN of the KMS key that seals private keys. PEERLESS_KEY_ARN.
	Key string
	// AuthorityKey is the ARN of the KMS key that signs the certificates of organisations that are made from now on. PEERLESS_AUTHORITY_KEY_ARN; may
	// be empty: then each has a key of its own, sealed like the others.
	AuthorityKey string
	// ReaderRole is the ARN of the role whose sessions are lent to contracts. PEERLESS_READER_ROLE.
	ReaderRole string
	// FunctionPrefix is what the names of contracts' functions begin with. PEERLESS_FUNCTION_PREFIX.
	FunctionPrefix string
	// Queue and DeadLetters are the URLs of the queues. PEERLESS_QUEUE_URL, PEERLESS_DEAD_LETTERS_URL; both may be empty: there is no queue.
	Queue, DeadLetters string
	// Later is the URL of the queue in which webhooks that fail wait for their next try. PEERLESS_EVENTS_LATER_URL; it may be empty: then the
	// ledger table's stream repeats its records.
	Later string
	// PrivateWebhooks lets webhooks go to addresses of private networks, and without TLS: PEERLESS_PRIVATE_WEBHOOKS, "yes". Only where everybody who
	// may subscribe may also reach what the functions reach.
	PrivateWebhooks bool
	// Issuer and Audience are whose tokens are accepted beside API keys. PEERLESS_ISSUER, PEERLESS_AUDIENCE; both may be empty: none are.
	Issuer, Audience string
	// UserClaim and OrganizationClaim are the claims of a token that are its user and its organisation, AttributeClaims those that become attributes:
	// CLAIM or CLAIM=ATTRIBUTE. PEERLESS_USER_CLAIM, PEERLESS_ORGANIZATION_CLAIM, PEERLESS_ATTRIBUTE_CLAIMS, separated by commas; all may be empty.
	UserClaim, OrganizationClaim string
	AttributeClaims              []string
	// AdminKeyHash is the SHA-256, in hex, of the first administrator's key, as peerless key generate prints it. PEERLESS_ADMIN_KEY_HASH; may
	// be empty: there is none, or not any more.
	AdminKeyHash string

	// Region and Credentials are those of the function. AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN (may be empty).
	Region      string
	Credentials aws.Credentials
	// Endpoints are the addresses of services that are not at their own, by service id in capitals: AWS_ENDPOINT_URL_DYNAMODB,
	// …_EVENTBRIDGE, …_KMS, …_LAMBDA, …_SNS, …_SQS, …_STS. All may be empty.
	Endpoints map[string]string
}

// services are those that the platform calls.
var services = []string{"DYNAMODB", "EVENTBRIDGE", "KMS", "LAMBDA", "SNS", "SQS", "STS"}

// FromEnv reads the configuration from the environment: lookup is os.Getenv. Every name that is missing is in the one error.
func FromEnv(lookup func(string) string) (Config, error) {
	env := environment{lookup: lookup}
	c := Config{Stage: env.need("PEERLESS_STAGE"), Organization: env.get("PEERLESS_ORGANIZATION", node.DefaultOrganization)}
	if c.Stage == StageLocal {
		return c, nil
	}
	c.Ledger, c.Control = env.need("PEERLESS_LEDGER_TABLE"), env.need("PEERLESS_CONTROL_TABLE")
	c.Key, c.ReaderRole, c.FunctionPrefix = env.need("PEERLESS_KEY_ARN"), env.need("PEERLESS_READER_ROLE"), env.need("PEERLESS_FUNCTION_PREFIX")
	c.AuthorityKey = lookup("PEERLESS_AUTHORITY_KEY_ARN")
	c.Queue, c.DeadLetters = lookup("PEERLESS_QUEUE_URL"), lookup("PEERLESS_DEAD_LETTERS_URL")
	c.Later = lookup("PEERLESS_EVENTS_LATER_URL")
	c.PrivateWebhooks = lookup("PEERLESS_PRIVATE_WEBHOOKS") == "yes"
	c.AdminKeyHash = lookup("PEERLESS_ADMIN_KEY_HASH")
	c.UserClaim, c.OrganizationClaim = lookup("PEERLESS_USER_CLAIM"), lookup("PEERLESS_ORGANIZATION_CLAIM")
	if claims := lookup("PEERLESS_ATTRIBUTE_CLAIMS"); claims != "" {
		c.AttributeClaims = strings.Split(claims, ",")
	}
	if c.Issuer = lookup("PEERLESS_ISSUER"); c.Issuer != "" {
		c.Audience = env.need("PEERLESS_AUDIENCE") // else anybody's tokens of the issuer would do
	}
	c.Region = env.need("AWS_REGION")
	c.Credentials = aws.Credentials{
		AccessKeyID: env.need("AWS_ACCESS_KEY_ID"), SecretAccessKey: env.need("AWS_SECRET_ACCESS_KEY"), SessionToken: lookup("AWS_SESSION_TOKEN"), Source: "environment",
	}
	c.Endpoints = make(map[string]string)
	for _, service := range services {
		if endpoint := lookup("AWS_ENDPOINT_URL_" + service); endpoint != "" {
			c.Endpoints[service] = endpoint
		}
	}
	return c, env.err()
}

// environment reads variables, and remembers which are missing.
type environment struct {
	lookup  func(string) string
	missing []string
}

func (e *environment) get(name, otherwise string) string {
	if value := e.lookup(name); value != "" {
		return value
	}
	return otherwise
}

func (e *environment) need(name string) string {
	value := e.lookup(name)
	if value == "" {
		e.missing = append(e.missing, name)
	}
	return value
}

func (e *environment) err() error {
	if len(e.missing) == 0 {
		return nil
	}
	return fmt.Errorf("the function's environment lacks %s: template.yaml sets what begins with PEERLESS_, Lambda the rest", strings.Join(e.missing, ", "))
}
