package awstest

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"sort"
	"testing"
	"time"
)

// CloudFormation serves DescribeStacks on loopback until the test ends, for stacks with these outputs, and returns its address.
func CloudFormation(t testing.TB, iam *IAM, stacks map[string]map[string]string) (endpoint string) {
	t.Helper()
	type output struct {
		OutputKey, OutputValue string
	}
	type stack struct {
		StackName, StackId, StackStatus, CreationTime string
		Outputs                                       []output `xml:"Outputs>member"`
	}
	type answer struct {
		XMLName   xml.Name `xml:"http://cloudformation.amazonaws.com/doc/2010-05-15/ DescribeStacksResponse"`
		Stacks    []stack  `xml:"DescribeStacksResult>Stacks>member"`
		RequestID string   `xml:"ResponseMetadata>RequestId"`
	}
	type failure struct {
		XMLName   xml.Name `xml:"http://cloudformation.amazonaws.com/doc/2010-05-15/ ErrorResponse"`
		Type      string   `xml:"Error>Type"`
		Code      string   `xml:"Error>Code"`
		Message   string   `xml:"Error>Message"`
		RequestID string   `xml:"RequestId"`
	}
	respond := func(w http.ResponseWriter, status int, body any) {
		w.Header().Set("Content-Type", "text/xml")
		w.WriteHeader(status)
		xml.NewEncoder(w).Encode(body)
	}
	return serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fail := func(status int, code, message string) {
			respond(w, status, failure{Type: "Sender", Code: code, Message: message, RequestID: requestID()})
		}
		if err := r.ParseForm(); err != nil || r.Form.Get("Action") != "DescribeStacks" {
			fail(http.StatusBadRequest, "InvalidAction", "only DescribeStacks is known here")
			return
		}
		name := r.Form.Get("StackName")
		arn := fmt.Sprintf("arn:aws:cloudformation:%s:%s:stack/%s/*", Region, Account, name)
		if refusal := iam.refuse(r, Call{Action: "cloudformation:DescribeStacks", Resource: arn}); refusal != nil {
			kind := refusal.kind
			if kind == "AccessDeniedException" {
				kind = "AccessDenied"
			}
			fail(refusal.status, kind, refusal.message)
			return
		}
		outputs, ok := stacks[name]
		if !ok {
			fail(http.StatusBadRequest, "ValidationError", "Stack with id "+name+" does not exist")
			return
		}
		s := stack{StackName: name, StackId: arn, StackStatus: "CREATE_COMPLETE", CreationTime: time.Now().UTC().Format(time.RFC3339)}
		for key, value := range outputs {
			s.Outputs = append(s.Outputs, output{key, value})
		}
		sort.Slice(s.Outputs, func(i, j int) bool { return s.Outputs[i].OutputKey < s.Outputs[j].OutputKey })
		respond(w, http.StatusOK, answer{Stacks: []stack{s}, RequestID: requestID()})
	}))
}
