package adapter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/hyperledger/fabric-chaincode-go/v2/shim"

	"peerless/shared/chaincode"
)

// startTimeout is how long a wrapped program may take to register: with the time for the answer, within the invocation's.
const startTimeout = 20 * time.Second

// Start runs a contract as this Lambda function, whose main it is the end of: it does not return unless the function cannot start,
// and then Lambda has been told why.
func Start(contract shim.Chaincode) error {
	return start(func(config Config) (chaincode.Host, error) {
		return chaincode.StartInProcess(config.Chaincode, contract, chaincode.Config{Logger: config.Logger})
	})
}

// StartProgram runs a chaincode program, as ProgramFromEnv says, as this Lambda function. It returns as Start does.
//
// The function polls for its first invocation while the program starts, and that invocation waits: so the start takes no longer
// than the slower of both. Where Lambda starts environments ahead of invocations (provisioned concurrency, SnapStart) it waits
// for the program before it polls. An unset program, or one that cannot be run, is an error at the start either way; one that
// ends before it registers is then an error of the first invocation, with its last output.
func StartProgram() error {
	return start(func(config Config) (chaincode.Host, error) {
		program, err := ProgramFromEnv(config)
		if err != nil {
			return nil, err
		}
		if err := runnable(program.Path); err != nil {
			return nil, err
		}
		process, err := chaincode.NewProcess(program)
		if err != nil {
			return nil, err
		}
		if kind := os.Getenv("AWS_LAMBDA_INITIALIZATION_TYPE"); kind != "" && kind != "on-demand" {
			return process, process.Start(context.Background())
		}
		go process.Start(context.Background()) // its error is that of the executions that wait for it
		return process, nil
	})
}

func start(open func(Config) (chaincode.Host, error)) error {
	config, err := FromEnv()
	var host chaincode.Host
	if err == nil {
		host, err = open(config)
	}
	if err != nil {
		return errors.Join(err, reportInit(err))
	}
	lambda.Start(&handler{Config: config, host: host, views: newTables()})
	return errors.New("the Lambda runtime ended")
}

// reportInit tells Lambda why the function cannot start, which the client library has no call for.
func reportInit(cause error) error {
	api := os.Getenv("AWS_LAMBDA_RUNTIME_API")
	if api == "" {
		return errors.New("AWS_LAMBDA_RUNTIME_API is not set: this program is a Lambda function's bootstrap")
	}
	body, err := json.Marshal(map[string]string{"errorType": "Peerless.Init", "errorMessage": cause.Error()})
	if err != nil {
		return err
	}
	response, err := http.Post("http://"+api+"/2018-06-01/runtime/init/error", "application/json", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("report it to Lambda: %w", err)
	}
	return response.Body.Close()
}
