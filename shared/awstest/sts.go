package awstest

import (
	"encoding/xml"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// STS serves AssumeRole on loopback for the roles of an IAM, and returns the configuration of clients with some credentials.
func STS(t testing.TB, iam *IAM, caller aws.Credentials) aws.Config {
	t.Helper()
	endpoint := serve(t, http.HandlerFunc(iam.assumeRole))
	return aws.Config{Region: Region, BaseEndpoint: &endpoint, Credentials: provider(caller)}
}

// maxSessionPolicy is the size of a session policy, in characters.
const maxSessionPolicy = 2048

// assumeRole is https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html, what of it is used.
func (m *IAM) assumeRole(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil || r.Form.Get("Action") != "AssumeRole" {
		stsError(w, http.StatusBadRequest, "InvalidAction", "only AssumeRole is known here")
		return
	}
	arn := r.Form.Get("RoleArn")
	if refusal := m.refuse(r, Call{Action: "sts:AssumeRole", Resource: arn}); refusal != nil {
		kind := refusal.kind
		if kind == "AccessDeniedException" {
			kind = "AccessDenied"
		}
		stsError(w, refusal.status, kind, refusal.message)
		return
	}
	m.mu.Lock()
	role, known := m.roles[arn]
	now := m.clock()
	m.mu.Unlock()
	if !known {
		stsError(w, http.StatusForbidden, "AccessDenied", "not authorized to perform: sts:AssumeRole on resource: "+arn)
		return
	}
	s := &session{identity: role}
	if document := r.Form.Get("Policy"); document != "" {
		policy, err := ParsePolicy([]byte(document))
		switch {
		case err != nil:
			stsError(w, http.StatusBadRequest, "MalformedPolicyDocument", err.Error())
			return
		case len(document) > maxSessionPolicy:
			stsError(w, http.StatusBadRequest, "PackedPolicyTooLarge", "the session policy has more than 2048 characters")
			return
		}
		s.scope = &policy
	}
	duration := 3600
	if text := r.Form.Get("DurationSeconds"); text != "" {
		var err error
		if duration, err = strconv.Atoi(text); err != nil || duration < 900 || duration > 43200 {
			stsError(w, http.StatusBadRequest, "ValidationError", "DurationSeconds is from 900 to 43200")
			return
		}
	}
	s.expires = now.Add(time.Duration(duration) * time.Second)
	c := m.issue("ASIA", s)
	type body struct {
		XMLName         xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ AssumeRoleResponse"`
		AccessKeyID     string   `xml:"AssumeRoleResult>Credentials>AccessKeyId"`
		SecretAccessKey string   `xml:"AssumeRoleResult>Credentials>SecretAccessKey"`
		SessionToken    string   `xml:"AssumeRoleResult>Credentials>SessionToken"`
		Expiration      string   `xml:"AssumeRoleResult>Credentials>Expiration"`
		RequestID       string   `xml:"ResponseMetadata>RequestId"`
	}
	w.Header().Set("Content-Type", "text/xml")
	xml.NewEncoder(w).Encode(body{
		AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken,
		Expiration: s.expires.UTC().Format(time.RFC3339), RequestID: requestID(),
	})
}

func stsError(w http.ResponseWriter, status int, code, message string) {
	type body struct {
		XMLName xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ ErrorResponse"`
		Type    string   `xml:"Error>Type"`
		Code    string   `xml:"Error>Code"`
		Message string   `xml:"Error>Message"`
	}
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	xml.NewEncoder(w).Encode(body{Type: "Sender", Code: code, Message: message})
}
