// Package aws takes events to AWS: to SNS topics and EventBridge buses. And it is the function behind a table's stream, which wakes the
// sender of events when there are new blocks.
package aws

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"

	"peerless/shared/webhook"
)

// maxMessage is the size of a message to SNS and of an entry for EventBridge, in bytes, with some room for its names
// (https://docs.aws.amazon.com/sns/latest/dg/sns-large-payload-raw-message-delivery.html,
// https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevents.html).
const maxMessage = 256<<10 - 2<<10

// source is what EventBridge's rules match.
const source = "peerless"

// fit leaves the payload out of an event that is too large, and says so: it can be read from the ledger by its id.
func fit(body []byte) ([]byte, error) {
	if len(body) <= maxMessage {
		return body, nil
	}
	var event map[string]json.RawMessage
	if err := json.Unmarshal(body, &event); err != nil {
		return nil, fmt.Errorf("an event that is too large: %w", err)
	}
	event["payload"], event["payloadEncoding"] = json.RawMessage("null"), json.RawMessage(`"omitted"`)
	return json.Marshal(event)
}

// Topics sends to SNS.
type Topics struct{ Client *sns.Client }

// Send implements webhook.Target. A FIFO topic keeps a channel's order, and drops what comes twice within five minutes.
func (t Topics) Send(ctx context.Context, s *webhook.Subscription, m *webhook.Message) error {
	body, err := fit(m.Body)
	if err != nil {
		return err
	}
	input := &sns.PublishInput{TopicArn: &s.URL, Message: aws.String(string(body)), MessageAttributes: make(map[string]snstypes.MessageAttributeValue)}
	for name, value := range map[string]string{"id": m.ID, "channel": s.Channel, "name": m.Name} {
		if value != "" {
			input.MessageAttributes[name] = snstypes.MessageAttributeValue{DataType: aws.String("String"), StringValue: &value}
		}
	}
	if strings.HasSuffix(s.URL, ".fifo") {
		input.MessageGroupId, input.MessageDeduplicationId = &s.Channel, aws.String(deduplication(m.ID))
	}
	if _, err := t.Client.Publish(ctx, input); err != nil {
		return fmt.Errorf("publish to %s: %w", s.URL, err)
	}
	return nil
}

// deduplication is an id that SNS takes: the last 128 characters, which tell events of a channel apart.
func deduplication(id string) string { return id[max(0, len(id)-128):] }

// Buses sends to EventBridge.
type Buses struct{ Client *eventbridge.Client }

// Send implements webhook.Target. A rule matches the source "peerless", and the event's name as detail-type.
func (b Buses) Send(ctx context.Context, s *webhook.Subscription, m *webhook.Message) error {
	body, err := fit(m.Body)
	if err != nil {
		return err
	}
	name := m.Name
	if name == "" {
		name = "event" // a detail type is required
	}
	out, err := b.Client.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []ebtypes.PutEventsRequestEntry{{
		EventBusName: &s.URL, Source: aws.String(source), DetailType: aws.String(shorten(name, 128)), Detail: aws.String(string(body)),
		Resources: []string{m.ID},
	}}})
	if err == nil && out.FailedEntryCount > 0 {
		err = errors.New("the entry was refused")
		if len(out.Entries) > 0 && out.Entries[0].ErrorCode != nil {
			err = fmt.Errorf("%s: %s", *out.Entries[0].ErrorCode, aws.ToString(out.Entries[0].ErrorMessage))
		}
	}
	if err != nil {
		return fmt.Errorf("put an event to %s: %w", s.URL, err)
	}
	return nil
}

func shorten(s string, max int) string {
	if len(s) > max {
		s = strings.ToValidUTF8(s[:max], "")
	}
	return s
}
