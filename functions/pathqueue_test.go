package functions_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"peerless/shared/awstest"
	script "peerless/shared/walk"
)

// invoker invokes a function of a deployment through the Invoke API.
type invoker struct {
	*lambda.Client
	function string
}

func (i invoker) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	out, err := i.Client.Invoke(ctx, &lambda.InvokeInput{FunctionName: &i.function, Payload: payload})
	if err != nil {
		return nil, err
	}
	if out.FunctionError != nil {
		return nil, fmt.Errorf("%s: %s", aws.ToString(out.FunctionError), out.Payload)
	}
	return out.Payload, nil
}

// TestCloudQueue takes transactions by HTTP into SQS, whose messages reach the queue's function as Lambda's mapping brings them, each batch
// twice. They are committed once, in their group's order; what cannot be is in the dead letters.
func TestCloudQueue(t *testing.T) {
	t.Parallel()
	queues := awstest.NewQueues(t, awstest.QueueSpec{FIFO: true})
	d := deploy(t, nil, queues)
	if status, answer := d.request("POST", "/v1/channels", `{"name":"alpha"}`); status != http.StatusCreated {
		t.Fatalf("create a channel: %d %s", status, answer)
	}
	if err := d.bring(t.Context(), script.Deployment{Contract: "assettransfer", Name: "assets", Channel: "alpha"}); err != nil {
		t.Fatal(err)
	}
	before := d.audit("alpha").Transactions
	const chaincode = "/v1/channels/alpha/chaincodes/assets"
	var ids []string
	for _, body := range []string{
		`{"function":"CreateAsset","args":["a1","blue","5","tom","100"]}`, `{"function":"TransferAsset","args":["a1","ada"]}`,
		`{"function":"ReadAsset","args":["nothing"]}`, `{"function":"TransferAsset","args":["a1","jin"]}`,
	} {
		status, answer := d.request("POST", chaincode+"/queue", body, "Message-Group-Id", "a1")
		var accepted struct{ TransactionID string }
		if err := json.Unmarshal(answer, &accepted); status != http.StatusAccepted || err != nil || accepted.TransactionID == "" {
			t.Fatalf("queue %s: %d %s", body, status, answer)
		}
		ids = append(ids, accepted.TransactionID)
	}
	if status, _ := d.request("GET", "/v1/channels/alpha/transactions/"+ids[0], ""); status != http.StatusNotFound {
		t.Errorf("before the queue's function ran: %d, want 404", status)
	}
	poller := &awstest.Poller{Queues: queues, Function: invoker{lambda.NewFromConfig(d.lambda.Config()), d.name(t, "QueueFunction")}, Twice: true}
	poller.Drain(t)
	for i, id := range ids {
		status, answer := d.request("GET", "/v1/channels/alpha/transactions/"+id, "")
		if poison := i == 2; !poison && (status != http.StatusOK || !strings.Contains(string(answer), `"VALID"`)) || poison && status != http.StatusNotFound {
			t.Errorf("message %d: %d %s", i, status, answer)
		}
	}
	if status, answer := d.request("POST", chaincode+"/evaluate", `{"function":"ReadAsset","args":["a1"]}`); !strings.Contains(string(answer), `"Owner":"jin"`) {
		t.Errorf("in the end: %d %s, want the last owner of the group's order", status, answer)
	}
	if n, err := queues.Depth(t.Context(), queues.DeadLetters); err != nil || n < 1 {
		t.Errorf("dead letters: %d, %v, want the one that reads nothing, once for each time it was delivered", n, err)
	}
	if got := d.audit("alpha").Transactions - before; got != 3 {
		t.Errorf("the chain has %d transactions more, want 3", got)
	}
}
