package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/spf13/cobra"

	"peerless/shared/queue/sqs"
)

// sqsConfig is the SQS queue that a server takes messages from.
type sqsConfig struct {
	url, deadLetters, endpoint string
}

func (c *sqsConfig) addTo(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.url, "sqs", "", "the URL of an SQS queue to take messages from, with AWS's usual settings (AWS_REGION, AWS_PROFILE, …)")
	f.StringVar(&c.deadLetters, "sqs-dlq", "", "the URL of its dead-letter queue, for poison with its reason (default: its redrive policy moves what is received too often)")
	f.StringVar(&c.endpoint, "sqs-endpoint", "", "where SQS answers, if it is not AWS: http://127.0.0.1:9324 for instance")
}

// check refuses flags that make no sense.
func (c *sqsConfig) check(cmd *cobra.Command) error {
	if c.url == "" && (c.deadLetters != "" || c.endpoint != "") {
		return &usageError{cmd.CommandPath(), "--sqs-dlq and --sqs-endpoint go with --sqs"}
	}
	for name, value := range map[string]string{"--sqs": c.url, "--sqs-dlq": c.deadLetters, "--sqs-endpoint": c.endpoint} {
		if u, err := url.Parse(value); value != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
			return &usageError{cmd.CommandPath(), fmt.Sprintf("%s wants a URL, such as https://sqs.eu-central-1.amazonaws.com/123456789012/orders.fifo, not %q", name, value)}
		}
	}
	return nil
}

// consume has the platform take messages from the queue, if there is one.
func (c *sqsConfig) consume(ctx context.Context, p *platform) error {
	if c.url == "" {
		return nil
	}
	config, err := awsconfig.LoadDefaultConfig(ctx)
	if err != nil {
		return fmt.Errorf("read AWS's settings for --sqs: %w", err)
	}
	if config.Region == "" {
		config.Region = regionOf(c.url)
	}
	if config.Region == "" {
		return fmt.Errorf("the region of --sqs %s is not known: set AWS_REGION", c.url)
	}
	if c.endpoint != "" {
		config.BaseEndpoint = aws.String(c.endpoint)
	}
	q := &sqs.Queue{Client: awssqs.NewFromConfig(config), URL: c.url, DeadLettersURL: c.deadLetters}
	consumer := &sqs.Consumer{Handler: p.QueueHandler(), Queue: q, Logger: p.Logger}
	p.jobs = append(p.jobs, consumer.Run)
	return nil
}

// regionOf is the region in the URL of a queue on AWS, or empty.
func regionOf(queue string) string {
	u, err := url.Parse(queue)
	if err != nil {
		return ""
	}
	rest, ok := strings.CutPrefix(u.Hostname(), "sqs.")
	region, domain, _ := strings.Cut(rest, ".")
	if !ok || !strings.HasPrefix(domain, "amazonaws.com") {
		return ""
	}
	return region
}
