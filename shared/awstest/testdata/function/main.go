// Command function is a Lambda function for the tests of what runs functions: it does what its event says.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
)

type event struct {
	Do   string
	Size int
}

var calls int

func main() {
	switch os.Getenv("START") {
	case "fail":
		body := strings.NewReader(`{"errorType":"Config.Missing","errorMessage":"TABLE is not set"}`)
		http.Post("http://"+os.Getenv("AWS_LAMBDA_RUNTIME_API")+"/2018-06-01/runtime/init/error", "application/json", body)
		os.Exit(1)
	case "exit":
		os.Exit(3)
	}
	lambda.Start(handle)
}

func handle(_ context.Context, e event) (any, error) {
	calls++
	switch e.Do {
	case "environment":
		return os.Environ(), nil
	case "calls":
		return calls, nil
	case "fail":
		return nil, fmt.Errorf("as told")
	case "exit":
		os.Exit(7)
	case "sleep":
		time.Sleep(time.Hour)
	case "wait":
		time.Sleep(300 * time.Millisecond)
		return os.Getpid(), nil
	case "print":
		fmt.Println("printed by the function")
		return nil, nil
	case "large":
		return strings.Repeat("x", e.Size), nil
	}
	return nil, nil
}
