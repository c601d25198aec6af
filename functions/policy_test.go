package functions_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"peerless/shared/awstest"
	lambdahost "peerless/shared/chaincode/lambda"
	"peerless/shared/store/dynamodb"
)

// roleOf is the logical id of a function's role.
func (tp *template) roleOf(t *testing.T, function string) string {
	t.Helper()
	for id, r := range tp.Resources {
		if r.Type == "AWS::IAM::Role" && tp.arn(t, id) == tp.Resources[function].Properties["Role"] {
			return id
		}
	}
	t.Fatalf("%s has no role of the template's", function)
	return ""
}

// TestNobodyMayEverything: every function has a role that is written out, no statement allows a service's every action, and
// resources are named, but for X-Ray's, which have no names.
func TestNobodyMayEverything(t *testing.T) {
	t.Parallel()
	for _, parameters := range [][]string{{"Stage=dev"}, {"Stage=prod", "EncryptWithKey=yes", "Issuer=https://issuer.example", "Audience=a"}} {
		tp := render(t, parameters...)
		functions := 0
		for id, r := range tp.Resources {
			if r.Type == "AWS::Lambda::Function" {
				functions++
				tp.roleOf(t, id)
			}
			if r.Type != "AWS::IAM::Role" {
				continue
			}
			for _, p := range tp.policies(t, id) {
				for _, s := range p.Statement {
					for _, action := range s.Action {
						if strings.Contains(action, "*") {
							t.Errorf("%s may %s", id, action)
						}
						if slices.Contains(s.Resource, "*") && !strings.HasPrefix(action, "xray:") {
							t.Errorf("%s may %s on everything", id, action)
						}
					}
				}
			}
		}
		if functions < 3 {
			t.Errorf("the template has %d functions", functions)
		}
	}
}

// TestGatewayMay: what its clients are made for, on its own resources, and no more.
func TestGatewayMay(t *testing.T) {
	t.Parallel()
	const authority = "arn:aws:kms:" + awstest.Region + ":" + awstest.Account + ":key/authority"
	tp := render(t, "AuthorityKeyArn="+authority)
	ledger, control := tp.arn(t, "LedgerTable"), tp.arn(t, "ControlTable")
	function := "arn:aws:lambda:" + awstest.Region + ":" + awstest.Account + ":function:"
	may := []awstest.Call{
		{Action: "dynamodb:GetItem", Resource: control}, {Action: "dynamodb:Query", Resource: control},
		{Action: "dynamodb:PutItem", Resource: control}, {Action: "dynamodb:DeleteItem", Resource: control},
		{Action: "dynamodb:DescribeTable", Resource: ledger}, // the store's check of the set-up
		{Action: "sqs:SendMessage", Resource: tp.arn(t, "Queue")}, {Action: "sqs:GetQueueAttributes", Resource: tp.arn(t, "Queue")},
		{Action: "sqs:ReceiveMessage", Resource: tp.arn(t, "DeadLetters")}, {Action: "sqs:DeleteMessage", Resource: tp.arn(t, "DeadLetters")},
		{Action: "sqs:ChangeMessageVisibility", Resource: tp.arn(t, "DeadLetters")},
		{Action: "kms:GenerateDataKey", Resource: tp.arn(t, "Key")}, {Action: "kms:Decrypt", Resource: tp.arn(t, "Key")},
		{Action: "kms:Sign", Resource: authority}, {Action: "kms:GetPublicKey", Resource: authority},
		{Action: "lambda:InvokeFunction", Resource: tp.arn(t, "AssetTransferFunction")},
		{Action: "lambda:InvokeFunction", Resource: function + stackName + "-cc-trade-other-0123456789:p-0123456789abcdef"}, // made by peerless deploy; an alias
		{Action: "sts:AssumeRole", Resource: tp.arn(t, "ContractReaderRole")},
		{Action: "logs:PutLogEvents", Resource: strings.TrimSuffix(tp.arn(t, "GatewayLogs"), "*") + "log-stream:x"},
	}
	for _, method := range reflectMethods[dynamodb.Client]() {
		may = append(may, awstest.Call{Action: "dynamodb:" + method, Resource: ledger, LeadingKeys: []string{"block#main#1"}})
	}
	mayNot := []awstest.Call{
		{Action: "dynamodb:DeleteItem", Resource: ledger},
		{Action: "dynamodb:DeleteTable", Resource: ledger}, {Action: "dynamodb:Scan", Resource: ledger}, {Action: "dynamodb:Scan", Resource: control},
		{Action: "dynamodb:GetItem", Resource: ledger + "2"},
		{Action: "lambda:InvokeFunction", Resource: function + "another-cc-main-a-0123456789"},
		{Action: "lambda:InvokeFunction", Resource: tp.arn(t, "GatewayFunction")},
		{Action: "lambda:UpdateFunctionCode", Resource: tp.arn(t, "AssetTransferFunction")},
		{Action: "sqs:ReceiveMessage", Resource: tp.arn(t, "Queue")}, {Action: "sqs:DeleteMessage", Resource: tp.arn(t, "Queue")},
		{Action: "sts:AssumeRole", Resource: tp.arn(t, "ContractRole")},
		{Action: "kms:ScheduleKeyDeletion", Resource: tp.arn(t, "Key")}, {Action: "kms:Sign", Resource: tp.arn(t, "Key")},
	}
	role := tp.roleOf(t, "GatewayFunction")
	for _, call := range may {
		if !tp.may(t, role, call) {
			t.Errorf("the gateway may not %s on %s", call.Action, call.Resource)
		}
	}
	for _, call := range mayNot {
		if tp.may(t, role, call) {
			t.Errorf("the gateway may %s on %s", call.Action, call.Resource)
		}
	}
}

// reflectMethods are the methods of an interface.
func reflectMethods[T any]() (names []string) {
	of := reflect.TypeFor[T]()
	for i := range of.NumMethod() {
		names = append(names, of.Method(i).Name)
	}
	return names
}

// TestContractsMayNothing: a contract's function logs. What it is lent shows it its own namespace on its own channel.
func TestContractsMayNothing(t *testing.T) {
	t.Parallel()
	tp := render(t)
	ledger := tp.arn(t, "LedgerTable")
	role := tp.roleOf(t, "AssetTransferFunction")
	if other := tp.roleOf(t, "ProbeFunction"); other != role {
		t.Errorf("contracts have the roles %s and %s", role, other)
	}
	for _, p := range tp.policies(t, role) {
		for _, s := range p.Statement {
			for _, action := range s.Action {
				if !strings.HasPrefix(action, "logs:") {
					t.Errorf("a contract's function may %s by itself", action)
				}
			}
		}
	}
	document, err := lambdahost.SessionPolicy(ledger, "main", "assettransfer")
	if err != nil {
		t.Fatal(err)
	}
	session, err := awstest.ParsePolicy([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	own := []string{dynamodb.StatePartition("main", "assettransfer")}
	for _, test := range []struct {
		action      string
		resource    string
		keys        []string
		role, scope bool // what the role may, and what the session of it
	}{
		{"dynamodb:GetItem", ledger, own, true, true},
		{"dynamodb:BatchGetItem", ledger, own, true, true},
		{"dynamodb:Query", ledger, []string{dynamodb.HistoryPartition("main", "assettransfer")}, true, true},
		{"dynamodb:GetItem", ledger, []string{dynamodb.StatePartition("main", "probe")}, true, false},
		{"dynamodb:GetItem", ledger, []string{dynamodb.StatePartition("trade", "assettransfer")}, true, false},
		{"dynamodb:BatchGetItem", ledger, []string{own[0], dynamodb.StatePartition("main", "probe")}, true, false},
		{"dynamodb:Query", ledger, []string{"block#main#1"}, false, false},
		{"dynamodb:Query", ledger, []string{"tx#main#ab"}, false, false},
		{"dynamodb:Query", ledger, nil, false, false},
		{"dynamodb:Scan", ledger, nil, false, false},
		{"dynamodb:PutItem", ledger, own, false, false},
		{"dynamodb:GetItem", tp.arn(t, "ControlTable"), []string{"key"}, false, false},
	} {
		call := awstest.Call{Action: test.action, Resource: test.resource, LeadingKeys: test.keys}
		role := tp.may(t, "ContractReaderRole", call)
		if scope := role && session.Allows(call); role != test.role || scope != test.scope {
			t.Errorf("%s of %v: the role %v, the session %v; want %v, %v", test.action, test.keys, role, scope, test.role, test.scope)
		}
	}
}

// TestTrust: a function's role is Lambda's to take; the contracts' state is lent by who runs transactions.
func TestTrust(t *testing.T) {
	t.Parallel()
	tp := render(t)
	for id, r := range tp.Resources {
		if r.Type != "AWS::IAM::Role" {
			continue
		}
		for _, statement := range r.Properties["AssumeRolePolicyDocument"].(map[string]any)["Statement"].([]any) {
			principal := statement.(map[string]any)["Principal"].(map[string]any)
			want := any(map[string]any{"Service": "lambda.amazonaws.com"})
			if id == "ContractReaderRole" {
				want = map[string]any{"AWS": []any{tp.arn(t, "GatewayRole"), tp.arn(t, "QueueRole")}}
			}
			if !reflect.DeepEqual(any(principal), want) {
				t.Errorf("%s trusts %v, want %v", id, principal, want)
			}
		}
	}
}

// TestEventsMay: the events function reads the ledger and never writes it; it tells topics and buses of the stack's name alone.
func TestEventsMay(t *testing.T) {
	t.Parallel()
	tp := render(t)
	ledger, account := tp.arn(t, "LedgerTable"), ":"+awstest.Region+":"+awstest.Account+":"
	for call, may := range map[[2]string]bool{
		{"dynamodb:Query", ledger}: true,
		{"dynamodb:GetRecords", tp.attribute(t, "LedgerTable", "StreamArn")}:                    true,
		{"dynamodb:PutItem", tp.arn(t, "ControlTable")}:                                         true,
		{"sqs:SendMessage", tp.arn(t, "EventsLater")}:                                           true,
		{"sns:Publish", "arn:aws:sns" + account + stackName + "-orders"}:                        true,
		{"events:PutEvents", "arn:aws:events" + account + "event-bus/" + stackName + "-orders"}: true,
		{"sns:Publish", "arn:aws:sns" + account + "alarms"}:                                     false,
		{"events:PutEvents", "arn:aws:events" + account + "event-bus/default"}:                  false,
		{"dynamodb:PutItem", ledger}:                                                            false,
		{"dynamodb:BatchWriteItem", ledger}:                                                     false,
		{"lambda:InvokeFunction", tp.arn(t, "AssetTransferFunction")}:                           false,
		{"sqs:SendMessage", tp.arn(t, "Queue")}:                                                 false,
		{"sts:AssumeRole", tp.arn(t, "ContractReaderRole")}:                                     false,
	} {
		if got := tp.may(t, tp.roleOf(t, "EventsFunction"), awstest.Call{Action: call[0], Resource: call[1]}); got != may {
			t.Errorf("events: may %s on %s: %v", call[0], call[1], got)
		}
	}
}
