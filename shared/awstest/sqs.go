package awstest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"peerless/shared/toolbox"
)

// SQS returns the configuration of clients of an SQS double, ElasticMQ, on loopback. The tests of a program share one, which a JVM
// takes seconds to start: make queues with names of your own. It ends with the program.
//
// Where it is known to differ from SQS: see TestElasticMQ.
func SQS(t testing.TB) aws.Config {
	t.Helper()
	jars := filepath.Dir(toolbox.Need(t, "elasticmq/elasticmq-server_2.13-1.6.14.jar"))
	java := toolbox.Need(t, "java")
	elasticMQ.once.Do(func() { elasticMQ.endpoint, elasticMQ.err = startElasticMQ(java, jars, toolbox.Port(t)) })
	if elasticMQ.err != nil {
		t.Fatalf("start ElasticMQ: %v", elasticMQ.err)
	}
	return aws.Config{
		Region: "us-east-1", BaseEndpoint: &elasticMQ.endpoint,
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	}
}

var elasticMQ struct {
	once     sync.Once
	stdin    io.Closer // kept from the garbage collector, which would close it
	endpoint string
	err      error
}

// While this program lives, so does the pipe that the shell reads, however the program ends.
const whileWeLive = `"$@" & read _; kill $! 2>/dev/null; wait`

const elasticMQConfig = `include classpath("application.conf")
node-address { protocol = http, host = "127.0.0.1", port = %[1]d, context-path = "" }
generate-node-address = false
rest-sqs { enabled = true, bind-hostname = "127.0.0.1", bind-port = %[1]d, sqs-limits = strict }
rest-stats { enabled = false }
`

const elasticMQLogging = `<configuration>
<appender name="OUT" class="ch.qos.logback.core.ConsoleAppender"><encoder><pattern>%level %logger{20} %msg%n</pattern></encoder></appender>
<root level="warn"><appender-ref ref="OUT"/></root>
</configuration>
`

func startElasticMQ(java, jars string, port int) (endpoint string, err error) {
	dir, err := os.MkdirTemp("", "elasticmq-")
	if err != nil {
		return "", err
	}
	config, logging, log := filepath.Join(dir, "elasticmq.conf"), filepath.Join(dir, "logback.xml"), filepath.Join(dir, "log")
	if err := os.WriteFile(config, fmt.Appendf(nil, elasticMQConfig, port), 0o600); err != nil {
		return "", err
	}
	if err := os.WriteFile(logging, []byte(elasticMQLogging), 0o600); err != nil {
		return "", err
	}
	out, err := os.Create(log)
	if err != nil {
		return "", err
	}
	defer out.Close()
	cmd := exec.Command("sh", "-c", whileWeLive+"; rm -r "+dir, "sh", java, "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dconfig.file="+config,
		"-Dlogback.configurationFile="+logging, "-cp", filepath.Join(jars, "*"), "org.elasticmq.server.Main")
	cmd.Stdout, cmd.Stderr = out, out
	if elasticMQ.stdin, err = cmd.StdinPipe(); err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	endpoint = "http://127.0.0.1:" + strconv.Itoa(port)
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if response, err := http.Get(endpoint); err == nil {
			response.Body.Close()
			return endpoint, nil
		}
	}
	printed, _ := os.ReadFile(log)
	return "", fmt.Errorf("it does not answer after two minutes: %s", printed)
}

// Queues are a queue and its dead-letter queue, made for a test.
type Queues struct {
	*sqs.Client
	URL, ARN               string
	DeadLetters            string // URL
	FIFO                   bool
	deadLettersARN, prefix string
}

// A QueueSpec says what the queues of a test are like.
type QueueSpec struct {
	FIFO        bool
	Visibility  time.Duration // whole seconds. Default 30 s
	MaxReceives int           // a message received more often is moved to the dead-letter queue. Default 3
}

// NewQueues makes a queue with a dead-letter queue.
func NewQueues(t testing.TB, spec QueueSpec) *Queues {
	t.Helper()
	if spec.Visibility == 0 {
		spec.Visibility = 30 * time.Second
	}
	if spec.MaxReceives == 0 {
		spec.MaxReceives = 3
	}
	q := &Queues{Client: sqs.NewFromConfig(SQS(t)), FIFO: spec.FIFO, prefix: fmt.Sprintf("q%d", time.Now().UnixNano())}
	attributes := map[string]string{"VisibilityTimeout": strconv.Itoa(int(spec.Visibility.Seconds()))}
	q.DeadLetters, q.deadLettersARN = q.make(t, "dead", attributes)
	redrive, err := json.Marshal(map[string]string{"deadLetterTargetArn": q.deadLettersARN, "maxReceiveCount": strconv.Itoa(spec.MaxReceives)})
	if err != nil {
		t.Fatal(err)
	}
	attributes["RedrivePolicy"] = string(redrive)
	q.URL, q.ARN = q.make(t, "messages", attributes)
	return q
}

func (q *Queues) make(t testing.TB, name string, attributes map[string]string) (url, arn string) {
	t.Helper()
	name = q.prefix + "-" + name
	if q.FIFO {
		name += ".fifo"
		attributes["FifoQueue"] = "true"
	}
	made, err := q.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
	if err != nil {
		t.Fatalf("create queue %s: %v", name, err)
	}
	got, err := q.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{
		QueueUrl: made.QueueUrl, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameQueueArn}})
	if err != nil {
		t.Fatalf("find the ARN of queue %s: %v", name, err)
	}
	return *made.QueueUrl, got.Attributes["QueueArn"]
}

// Send sends a message, of a group if the queue is FIFO, and returns its id. An empty deduplication id is a new one.
func (q *Queues) Send(t testing.TB, body, group, deduplication string) string {
	t.Helper()
	input := &sqs.SendMessageInput{QueueUrl: &q.URL, MessageBody: &body}
	if q.FIFO {
		if deduplication == "" {
			deduplication = strconv.FormatInt(time.Now().UnixNano(), 10)
		}
		input.MessageGroupId, input.MessageDeduplicationId = &group, &deduplication
	}
	sent, err := q.SendMessage(t.Context(), input)
	if err != nil {
		t.Fatalf("send message: %v", err)
	}
	return *sent.MessageId
}

// Receive takes up to ten messages from a queue, and waits for one for a second. They stay invisible.
func (q *Queues) Receive(t testing.TB, url string) []types.Message {
	t.Helper()
	got, err := q.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{
		QueueUrl: &url, MaxNumberOfMessages: 10, WaitTimeSeconds: 1, MessageAttributeNames: []string{"All"},
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
	})
	if err != nil {
		t.Fatalf("receive messages: %v", err)
	}
	return got.Messages
}

// Release makes messages that were received visible again.
func (q *Queues) Release(t testing.TB, url string, messages []types.Message) {
	t.Helper()
	for _, m := range messages {
		_, err := q.ChangeMessageVisibility(context.WithoutCancel(t.Context()), &sqs.ChangeMessageVisibilityInput{
			QueueUrl: &url, ReceiptHandle: m.ReceiptHandle, VisibilityTimeout: 0})
		if err != nil {
			t.Fatalf("release message: %v", err)
		}
	}
}

// Depth is how many messages a queue has, in flight or not.
func (q *Queues) Depth(ctx context.Context, url string) (int, error) {
	got, err := q.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll}})
	if err != nil {
		return 0, err
	}
	total := 0
	for _, name := range []string{"ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"} {
		n, err := strconv.Atoi(got.Attributes[name])
		if err != nil {
			return 0, fmt.Errorf("%s of %s: %w", name, url, err)
		}
		total += n
	}
	return total, nil
}
