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
	return start(func(config Config) (chaincode.Host, error) { return inProcess(config, contract) })
}

// StartFunc is Start for a contract that takes time to make: as contractapi.NewChaincode does, which needs as long as all else of a
// function's start. The function polls for its first invocation meanwhile, and that invocation waits; if making the contract
// fails, it and all others are answered with the error. Where Lambda starts environments ahead of invocations
// (provisioned concurrency, SnapStart) the contract is made before the first poll.
func StartFunc(make func() (shim.Chaincode, error)) error {
	return start(func(config Config) (chaincode.Host, error) {
		open := func() (chaincode.Host, error) {
			contract, err := make()
			if err != nil {
				return nil, fmt.Errorf("%w: make the contract: %w", chaincode.ErrUnavailable, err)
			}
			return inProcess(config, contract)
		}
		if ahead() {
			return open()
		}
		return openLater(open), nil
	})
}

func inProcess(config Config, contract shim.Chaincode) (chaincode.Host, error) {
	return chaincode.StartInProcess(config.Chaincode, contract, chaincode.Config{Logger: config.Logger})
}

// StartProgram runs a chaincode program, as ProgramFromEnv says, as this Lambda function. It returns as Start does, and waits for the
// program when StartFunc waits for the contract. A program that is not there, or is for another processor, is an error at the
// start; one that ends before it registers is an error of the invocations that wait for it, with its last output.
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
		if ahead() {
			return process, process.Start(context.Background())
		}
		go process.Start(context.Background()) // its error is that of the executions that wait for it
		return process, nil
	})
}

// ahead reports whether this environment is started before there is an invocation for it.
func ahead() bool {
	kind := os.Getenv("AWS_LAMBDA_INITIALIZATION_TYPE")
	return kind != "" && kind != "on-demand"
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
