package stack

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/smithy-go"
)

// Names of the stack's outputs, in template.yaml.
const (
	OutputAPI          = "ApiUrl"
	OutputPrefix       = "FunctionPrefix"
	OutputRole         = "ContractRoleArn"
	OutputLayer        = "AdapterLayerArn"
	OutputLogGroup     = "ContractLogGroup"
	OutputArchitecture = "Architecture"
)

// Outputs are what a stack says of itself.
type Outputs struct {
	API    string // the URL of the HTTP API
	Prefix string // of the names of contracts' functions
	Role   string // ARN of the role that contracts' functions have
	Layer  string // ARN of the adapter's layer, with its version
	// LogGroup of the contracts' functions; empty: each has its own, as Lambda makes them.
	LogGroup string
	// Architecture of the functions: arm64, or x86_64.
	Architecture string
}

// ReadOutputs asks CloudFormation about a stack. The error is a *SettingError if there is none by that name, or if it is not one of
// Peerless.
func ReadOutputs(ctx context.Context, config aws.Config, name string) (*Outputs, error) {
	client := cloudformation.NewFromConfig(config)
	out, err := client.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: &name})
	var api smithy.APIError
	if errors.As(err, &api) && api.ErrorCode() == "ValidationError" && strings.Contains(api.ErrorMessage(), "does not exist") {
		return nil, &SettingError{"stack", fmt.Sprintf("there is no stack %q in %s: name it with --stack or PEERLESS_STACK, and its region with AWS_REGION", name, config.Region), err}
	}
	if err != nil {
		return nil, explain("read the outputs of stack "+name, err)
	}
	if len(out.Stacks) != 1 {
		return nil, fmt.Errorf("read the outputs of stack %s: CloudFormation described %d stacks", name, len(out.Stacks))
	}
	return parseOutputs(name, out.Stacks[0])
}

func parseOutputs(name string, s types.Stack) (*Outputs, error) {
	values := make(map[string]string)
	for _, o := range s.Outputs {
		values[aws.ToString(o.OutputKey)] = aws.ToString(o.OutputValue)
	}
	var missing []string
	need := func(output string) string {
		if values[output] == "" {
			missing = append(missing, output)
		}
		return values[output]
	}
	outputs := &Outputs{
		API: strings.TrimSuffix(need(OutputAPI), "/"), Prefix: need(OutputPrefix), Role: need(OutputRole), Layer: need(OutputLayer),
		LogGroup: values[OutputLogGroup], Architecture: values[OutputArchitecture],
	}
	if outputs.Architecture == "" {
		outputs.Architecture = "arm64"
	}
	if len(missing) > 0 {
		return nil, &SettingError{"stack", fmt.Sprintf("stack %q (%s) lacks the outputs %s: is it one of Peerless, and did sam deploy end well?",
			name, s.StackStatus, strings.Join(missing, ", ")), nil}
	}
	return outputs, nil
}
