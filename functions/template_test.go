package functions_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"peerless/shared/awstest"
	"peerless/shared/toolbox"
)

// A template is template.yaml as CloudFormation gets it, with what it refers to filled in.
type template struct {
	Parameters map[string]struct{ Default any }
	Conditions map[string]any
	Resources  map[string]*resource
	Outputs    map[string]struct{ Value any }

	values map[string]string // of parameters
}

type resource struct {
	DeletionPolicy, UpdateReplacePolicy string
	Type                                string
	Condition                           string
	Properties                          map[string]any
}

const (
	stackName = "peerless-test"
	partition = "aws"
)

// render transforms the template by SAM's translator and resolves its functions for parameters, "Stage=prod".
func render(t *testing.T, parameters ...string) *template {
	t.Helper()
	var tp template
	if err := json.Unmarshal(translated(t), &tp); err != nil {
		t.Fatal(err)
	}
	tp.values = map[string]string{
		"AWS::StackName": stackName, "AWS::Region": awstest.Region, "AWS::AccountId": awstest.Account, "AWS::Partition": partition,
		"AWS::URLSuffix": "amazonaws.com",
	}
	for name, p := range tp.Parameters {
		tp.values[name] = fmt.Sprint(p.Default)
	}
	for _, p := range parameters {
		name, value, _ := strings.Cut(p, "=")
		tp.values[name] = value
	}
	for id, r := range tp.Resources {
		if r.Condition != "" && !tp.holds(t, map[string]any{"Condition": r.Condition}) {
			delete(tp.Resources, id)
			continue
		}
		r.Properties, _ = tp.resolve(t, r.Properties).(map[string]any)
	}
	return &tp
}

// translation is kept for all tests: SAM's translator takes a second.
var translation struct {
	sync.Mutex
	template []byte
}

// translated is the template without SAM's own resources, its functions as they are.
func translated(t *testing.T) []byte {
	t.Helper()
	translation.Lock()
	defer translation.Unlock()
	if translation.template == nil {
		cmd := exec.Command(toolbox.Need(t, "venv/bin/python"), filepath.Join("testdata", "translate.py"), filepath.Join(toolbox.Root(), "template.yaml"))
		cmd.Env = append(os.Environ(), "AWS_DEFAULT_REGION="+awstest.Region)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("translate: %v\n%s", err, out)
		}
		translation.template = out
	}
	return translation.template
}

// noValue is AWS::NoValue: what holds it is left out.
type noValue struct{}

// resolve fills in what CloudFormation's functions refer to.
func (tp *template) resolve(t *testing.T, value any) any {
	t.Helper()
	switch v := value.(type) {
	case []any:
		list := []any{}
		for _, element := range v {
			if r := tp.resolve(t, element); r != (noValue{}) {
				list = append(list, r)
			}
		}
		return list
	case map[string]any:
		if len(v) == 1 {
			for function, argument := range v {
				if resolved, ok := tp.call(t, function, argument); ok {
					return resolved
				}
			}
		}
		object := make(map[string]any, len(v))
		for name, member := range v {
			if r := tp.resolve(t, member); r != (noValue{}) {
				object[name] = r
			}
		}
		return object
	}
	return value
}

var placeholder = regexp.MustCompile(`\$\{([^}!]+)\}`)

func (tp *template) call(t *testing.T, function string, argument any) (result any, known bool) {
	t.Helper()
	switch function {
	case "Ref":
		if argument == "AWS::NoValue" {
			return noValue{}, true
		}
		return tp.ref(t, argument.(string)), true
	case "Fn::GetAtt":
		if path, ok := argument.(string); ok {
			id, attribute, _ := strings.Cut(path, ".")
			return tp.attribute(t, id, attribute), true
		}
		path := argument.([]any)
		return tp.attribute(t, path[0].(string), path[1].(string)), true
	case "Fn::Sub":
		text, _ := argument.(string)
		own := map[string]any{} // variables of this text
		if pair, ok := argument.([]any); ok {
			text, own = pair[0].(string), pair[1].(map[string]any)
		}
		return placeholder.ReplaceAllStringFunc(text, func(p string) string {
			id, attribute, of := strings.Cut(p[2:len(p)-1], ".")
			if value, ok := own[id]; ok {
				return fmt.Sprint(tp.resolve(t, value))
			}
			if of {
				return tp.attribute(t, id, attribute)
			}
			return tp.ref(t, id)
		}), true
	case "Fn::If":
		branch := argument.([]any)
		if tp.holds(t, map[string]any{"Condition": branch[0]}) {
			return tp.resolve(t, branch[1]), true
		}
		return tp.resolve(t, branch[2]), true
	case "Fn::Join":
		parts := argument.([]any)
		var texts []string
		for _, part := range tp.resolve(t, parts[1]).([]any) {
			texts = append(texts, fmt.Sprint(part))
		}
		return strings.Join(texts, parts[0].(string)), true
	}
	return nil, false
}

// holds evaluates a condition.
func (tp *template) holds(t *testing.T, condition any) bool {
	t.Helper()
	for function, argument := range condition.(map[string]any) {
		switch function {
		case "Condition":
			return tp.holds(t, tp.Conditions[argument.(string)])
		case "Fn::Equals":
			both := tp.resolve(t, argument).([]any)
			return fmt.Sprint(both[0]) == fmt.Sprint(both[1])
		case "Fn::Not":
			return !tp.holds(t, argument.([]any)[0])
		}
	}
	t.Fatalf("condition %v is not known here", condition)
	return false
}

func (tp *template) ref(t *testing.T, name string) string {
	t.Helper()
	if value, ok := tp.values[name]; ok {
		return value
	}
	r := tp.Resources[name]
	switch {
	case r == nil:
		t.Fatalf("Ref of %q, which is nothing", name)
	case r.Type == "AWS::SQS::Queue":
		return "https://sqs." + awstest.Region + ".amazonaws.com/" + awstest.Account + "/" + tp.name(t, name)
	}
	return tp.name(t, name)
}

// name is what a resource is called: by the template, or by CloudFormation.
func (tp *template) name(t *testing.T, id string) string {
	t.Helper()
	if named, ok := tp.Resources[id].Properties["FunctionName"]; ok {
		return tp.resolve(t, named).(string)
	}
	return stackName + "-" + id + "-1A2B3C"
}

// forms are the ARNs of what the template has.
var forms = map[string]string{
	"AWS::DynamoDB::Table":  "dynamodb:%s:%s:table/%s",
	"AWS::SQS::Queue":       "sqs:%s:%s:%s",
	"AWS::Lambda::Function": "lambda:%s:%s:function:%s",
	"AWS::KMS::Key":         "kms:%s:%s:key/%s",
	"AWS::Logs::LogGroup":   "logs:%s:%s:log-group:%s:*",
}

func (tp *template) attribute(t *testing.T, id, attribute string) string {
	t.Helper()
	r := tp.Resources[id]
	if r == nil {
		t.Fatalf("%s.%s of no resource", id, attribute)
	}
	name := tp.name(t, id)
	switch {
	case attribute == "Arn" && r.Type == "AWS::IAM::Role":
		return fmt.Sprintf("arn:%s:iam::%s:role/%s", partition, awstest.Account, name)
	case attribute == "Arn" && forms[r.Type] != "":
		return fmt.Sprintf("arn:"+partition+":"+forms[r.Type], awstest.Region, awstest.Account, name)
	case attribute == "StreamArn":
		return fmt.Sprintf("arn:"+partition+":"+forms[r.Type], awstest.Region, awstest.Account, name) + "/stream/2026-11-26T00:00:00.000"
	}
	return name + "." + attribute
}

// arn is a resource's.
func (tp *template) arn(t *testing.T, id string) string { return tp.attribute(t, id, "Arn") }

// policies are all that a role has.
func (tp *template) policies(t *testing.T, role string) []awstest.Policy {
	t.Helper()
	r := tp.Resources[role]
	if r == nil || r.Type != "AWS::IAM::Role" {
		t.Fatalf("there is no role %s", role)
	}
	if arns := r.Properties["ManagedPolicyArns"]; arns != nil {
		t.Errorf("%s has policies that somebody else writes: %v", role, arns)
	}
	var documents []any
	if own, ok := r.Properties["Policies"].([]any); ok {
		for _, p := range own {
			documents = append(documents, p.(map[string]any)["PolicyDocument"])
		}
	}
	for _, other := range tp.Resources {
		if roles, ok := other.Properties["Roles"].([]any); ok && slices.Contains(roles, any(tp.name(t, role))) {
			documents = append(documents, other.Properties["PolicyDocument"])
		}
	}
	var policies []awstest.Policy
	for _, document := range documents {
		encoded, err := json.Marshal(document)
		if err != nil {
			t.Fatal(err)
		}
		p, err := awstest.ParsePolicy(encoded)
		if err != nil {
			t.Fatalf("%s: %v in %s", role, err, encoded)
		}
		policies = append(policies, p)
	}
	return policies
}

// may reports whether a role may make a call.
func (tp *template) may(t *testing.T, role string, call awstest.Call) bool {
	t.Helper()
	return slices.ContainsFunc(tp.policies(t, role), func(p awstest.Policy) bool { return p.Allows(call) })
}

// same compares a part of the template.
func same(t *testing.T, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestProtection: what must not be lost is kept and can be restored, in every stage; in prod it cannot even be deleted.
func TestProtection(t *testing.T) {
	t.Parallel()
	for stage, protected := range map[string]bool{"dev": false, "prod": true} {
		tp := render(t, "Stage="+stage)
		for _, id := range []string{"LedgerTable", "ControlTable", "Queue", "DeadLetters", "Key"} {
			r := tp.Resources[id]
			if r.DeletionPolicy != "RetainExceptOnCreate" || r.UpdateReplacePolicy != "Retain" {
				t.Errorf("%s is deleted with the stack: %s, %s", id, r.DeletionPolicy, r.UpdateReplacePolicy)
			}
			if r.Type == "AWS::DynamoDB::Table" {
				same(t, r.Properties["DeletionProtectionEnabled"], protected)
				same(t, r.Properties["PointInTimeRecoverySpecification"], map[string]any{"PointInTimeRecoveryEnabled": true, "RecoveryPeriodInDays": 35.0})
			}
		}
	}
}

// TestIdle: nothing in the template costs by the hour, whatever the parameters.
func TestIdle(t *testing.T) {
	t.Parallel()
	free := []string{ // while nobody calls; a key costs $1 a month, storage what is stored
		"AWS::ApiGatewayV2::Api", "AWS::ApiGatewayV2::Stage", "AWS::CloudWatch::Alarm", "AWS::CloudWatch::Dashboard", "AWS::DynamoDB::Table",
		"AWS::IAM::ManagedPolicy", "AWS::IAM::Role", "AWS::KMS::Key", "AWS::Lambda::EventSourceMapping", "AWS::Lambda::Function", "AWS::Lambda::LayerVersion",
		"AWS::Lambda::Permission", "AWS::Logs::LogGroup", "AWS::SQS::Queue",
	}
	for _, parameters := range [][]string{{"Stage=prod", "EncryptWithKey=yes"}, {"Monitoring=no", "KeyArn=arn:aws:kms:eu-central-1:123456789012:key/k"}} {
		keys, watched := 0, 0
		for id, r := range render(t, parameters...).Resources {
			if !slices.Contains(free, r.Type) {
				t.Errorf("%s is a %s: does it cost while nobody calls?", id, r.Type)
			}
			for _, property := range []string{"ProvisionedThroughput", "VpcConfig", "ReservedConcurrentExecutions", "ProvisionedConcurrencyConfig"} {
				if _, ok := r.Properties[property]; ok {
					t.Errorf("%s has %s", id, property)
				}
			}
			switch r.Type {
			case "AWS::KMS::Key":
				keys++
			case "AWS::CloudWatch::Alarm", "AWS::CloudWatch::Dashboard":
				watched++
			case "AWS::DynamoDB::Table":
				same(t, r.Properties["BillingMode"], "PAY_PER_REQUEST")
			}
		}
		if own := parameters[0] == "Stage=prod"; own != (keys == 1) || own != (watched > 1) || watched > 11 {
			t.Errorf("%v: %d keys, %d alarms and dashboards (ten alarms cost nothing)", parameters, keys, watched)
		}
	}
}
