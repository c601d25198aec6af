package awstest_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"peerless/shared/awstest"
)

func provider(c aws.Credentials) func(context.Context) (aws.Credentials, error) {
	return func(context.Context) (aws.Credentials, error) { return c, nil }
}

const readOnly = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["dynamodb:GetItem","dynamodb:BatchGetItem","dynamodb:Query"],"Resource":"*"}}`

// TestGuard: a session of a role may do what the role and the session's policy allow, with the partition keys named there.
func TestGuard(t *testing.T) {
	t.Parallel()
	passed := 0
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		passed++
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		w.Write([]byte(`{}`))
	}))
	defer backend.Close()
	iam := awstest.NewIAM()
	role := iam.Role("reader", readOnly)
	out, err := sts.NewFromConfig(awstest.STS(t, iam, iam.Administrator())).AssumeRole(t.Context(), &sts.AssumeRoleInput{
		RoleArn: &role, RoleSessionName: aws.String("test"), DurationSeconds: aws.Int32(900),
		Policy: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"dynamodb:*","Resource":"` + awstest.TableARN("t") + `",
			"Condition":{"ForAllValues:StringLike":{"dynamodb:LeadingKeys":["state#a","state#a$$*"]},"Null":{"dynamodb:LeadingKeys":"false"}}}]}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	session := aws.Credentials{AccessKeyID: *out.Credentials.AccessKeyId, SecretAccessKey: *out.Credentials.SecretAccessKey, SessionToken: *out.Credentials.SessionToken}
	client := dynamodb.NewFromConfig(awstest.Guard(t, iam, backend.URL, "pk", session), func(o *dynamodb.Options) { o.RetryMaxAttempts = 1 })
	key := func(pk string) map[string]types.AttributeValue {
		return map[string]types.AttributeValue{"pk": &types.AttributeValueMemberS{Value: pk}}
	}
	query := func(table, pk string) error {
		_, err := client.Query(t.Context(), &dynamodb.QueryInput{
			TableName: &table, KeyConditionExpression: aws.String("#p = :p AND sk > :s"), ExpressionAttributeNames: map[string]string{"#p": "pk"},
			ExpressionAttributeValues: map[string]types.AttributeValue{":p": &types.AttributeValueMemberS{Value: pk}, ":s": &types.AttributeValueMemberS{Value: "x"}},
		})
		return err
	}
	get := func(pk string) error {
		_, err := client.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: aws.String("t"), Key: key(pk)})
		return err
	}
	batch := func(pks ...string) error {
		var keys []map[string]types.AttributeValue
		for _, pk := range pks {
			keys = append(keys, key(pk))
		}
		_, err := client.BatchGetItem(t.Context(), &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{"t": {Keys: keys}}})
		return err
	}
	_, put := client.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: aws.String("t"), Item: key("state#a")})
	_, scan := client.Scan(t.Context(), &dynamodb.ScanInput{TableName: aws.String("t")})
	for what, c := range map[string]struct {
		err    error
		denied bool
	}{
		"get":                          {get("state#a"), false},
		"get of a collection":          {get("state#a$$pc"), false},
		"get of another":               {get("state#b"), true},
		"query":                        {query("t", "state#a"), false},
		"query of another":             {query("t", "state#ab"), true},
		"query of another table":       {query("u", "state#a"), true},
		"batch":                        {batch("state#a", "state#a$$hc"), false},
		"batch with another's":         {batch("state#a", "state#b"), true},
		"put, which the role does not": {put, true},
		"scan":                         {scan, true},
	} {
		var api smithy.APIError
		if denied := errors.As(c.err, &api) && api.ErrorCode() == "AccessDeniedException"; denied != c.denied || !c.denied && c.err != nil {
			t.Errorf("%s: %v", what, c.err)
		}
	}
	if passed != 4 {
		t.Errorf("%d calls reached the table, want 4", passed)
	}
	iam.SetClock(func() time.Time { return time.Now().Add(time.Hour) })
	var api smithy.APIError
	if err := get("state#a"); !errors.As(err, &api) || api.ErrorCode() != "ExpiredTokenException" {
		t.Errorf("with expired credentials: %v", err)
	}
}

func TestParsePolicyRefusesWhatIsNotEvaluated(t *testing.T) {
	t.Parallel()
	for _, document := range []string{
		`{"Statement":[{"Effect":"Allow","NotAction":"x","Resource":"*"}]}`,
		`{"Statement":[{"Effect":"Allow","Action":"x","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"1.1.1.1"}}}]}`,
		`{"Statement":[{"Effect":"Allow","Action":"x","Resource":"*","Condition":{"StringLike":{"dynamodb:Attributes":"x"}}}]}`,
		`{"Statement":[{"Effect":"Perhaps","Action":"x","Resource":"*"}]}`,
	} {
		if _, err := awstest.ParsePolicy([]byte(document)); err == nil {
			t.Errorf("%s is accepted", document)
		}
	}
}
