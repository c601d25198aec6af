package awstest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// Guard puts an IAM before a DynamoDB that has none: a proxy on loopback that refuses, as AWS does, what a request's credentials do
// not allow, and passes on the rest. It returns the configuration of clients with some credentials. hashKey is the name
// of the tables' partition key.
func Guard(t testing.TB, iam *IAM, backend, hashKey string, caller aws.Credentials) aws.Config {
	t.Helper()
	target, err := url.Parse(backend)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	endpoint := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the caller is gone
		}
		calls, err := dynamoCalls(r.Header.Get("X-Amz-Target"), body, hashKey)
		if err != nil {
			dynamoError(w, http.StatusBadRequest, "com.amazon.coral.validate#ValidationException", err.Error())
			return
		}
		for _, c := range calls {
			if refusal := iam.refuse(r, c); refusal != nil {
				dynamoError(w, http.StatusBadRequest, "com.amazon.coral.service#"+refusal.kind, refusal.message)
				return
			}
		}
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		// A caller that goes away does not take its call along: dynalite ends when a request breaks off.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), time.Minute)
		defer cancel()
		proxy.ServeHTTP(w, r.WithContext(ctx))
	}))
	return aws.Config{Region: Region, BaseEndpoint: &endpoint, Credentials: provider(caller)}
}

// TableARN returns the ARN of a table.
func TableARN(table string) string {
	return fmt.Sprintf("arn:aws:dynamodb:%s:%s:table/%s", Region, Account, table)
}

func dynamoError(w http.ResponseWriter, status int, kind, message string) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"__type": kind, "message": message})
}

// An attributes is an item or a key in DynamoDB's JSON.
type attributes map[string]struct{ S, N, B *string }

// dynamoCalls says what a DynamoDB request wants, one call for each table. Of a request in which it finds no partition key it
// says none: a policy that asks for leading keys then decides.
func dynamoCalls(target string, body []byte, hashKey string) ([]Call, error) {
	_, operation, ok := strings.Cut(target, ".")
	if !ok {
		return nil, fmt.Errorf("no operation in %q", target)
	}
	type write struct {
		PutRequest                          struct{ Item attributes }
		DeleteRequest                       struct{ Key attributes }
		Put, Update, Delete, ConditionCheck *struct {
			TableName string
			Item, Key attributes
		}
	}
	var request struct {
		TableName                 string
		Key, Item                 attributes
		KeyConditionExpression    string
		ExpressionAttributeNames  map[string]string
		ExpressionAttributeValues attributes
		RequestItems              map[string]json.RawMessage
		TransactItems             []write
	}
	if err := json.Unmarshal(body, &request); err != nil {
		return nil, err
	}
	call := func(action, table string, keys ...attributes) Call {
		c := Call{Action: "dynamodb:" + action, Resource: TableARN(table)}
		for _, key := range keys {
			if value := key[hashKey].S; value != nil {
				c.LeadingKeys = append(c.LeadingKeys, *value)
			}
		}
		return c
	}
	switch operation {
	case "GetItem", "DeleteItem", "UpdateItem":
		return []Call{call(operation, request.TableName, request.Key)}, nil
	case "PutItem":
		return []Call{call(operation, request.TableName, request.Item)}, nil
	case "Query":
		c := call(operation, request.TableName)
		if value := queried(request.KeyConditionExpression, request.ExpressionAttributeNames, hashKey); value != "" {
			if s := request.ExpressionAttributeValues[value].S; s != nil {
				c.LeadingKeys = []string{*s}
			}
		}
		return []Call{c}, nil
	case "BatchGetItem":
		var calls []Call
		for table, raw := range request.RequestItems {
			var of struct{ Keys []attributes }
			if err := json.Unmarshal(raw, &of); err != nil {
				return nil, err
			}
			calls = append(calls, call(operation, table, of.Keys...))
		}
		return calls, nil
	case "BatchWriteItem":
		var calls []Call
		for table, raw := range request.RequestItems {
			var writes []write
			if err := json.Unmarshal(raw, &writes); err != nil {
				return nil, err
			}
			var keys []attributes
			for _, w := range writes {
				keys = append(keys, w.PutRequest.Item, w.DeleteRequest.Key)
			}
			calls = append(calls, call(operation, table, keys...))
		}
		return calls, nil
	case "TransactWriteItems":
		var calls []Call
		for _, w := range request.TransactItems {
			switch {
			case w.Put != nil:
				calls = append(calls, call("PutItem", w.Put.TableName, w.Put.Item))
			case w.Update != nil:
				calls = append(calls, call("UpdateItem", w.Update.TableName, w.Update.Key))
			case w.Delete != nil:
				calls = append(calls, call("DeleteItem", w.Delete.TableName, w.Delete.Key))
			case w.ConditionCheck != nil:
				calls = append(calls, call("ConditionCheckItem", w.ConditionCheck.TableName, w.ConditionCheck.Key))
			}
		}
		return calls, nil
	}
	return []Call{call(operation, request.TableName)}, nil
}

var equality = regexp.MustCompile(`([#A-Za-z_][\w#.]*)\s*=\s*(:\w+)`)

// queried returns the placeholder of the value that a query wants its partition key to have.
func queried(condition string, names map[string]string, hashKey string) string {
	for _, m := range equality.FindAllStringSubmatch(condition, -1) {
		name := m[1]
		if full, ok := names[name]; ok {
			name = full
		}
		if name == hashKey {
			return m[2]
		}
	}
	return ""
}
