package adapter

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"peerless/shared/chaincode"
)

// The settings of a contract's function.
const (
	EnvChannel   = "PEERLESS_CHANNEL"   // the channel whose chaincode it is; required
	EnvChaincode = "PEERLESS_CHAINCODE" // the chaincode's name on the channel; required
	EnvMode      = "PEERLESS_MODE"      // wrapped: dial, the program dials in; serve, it serves. Default dial
)

// A Config says whose function this is.
type Config struct {
	Channel, Chaincode string
	Logger             *slog.Logger // default: JSON lines on standard error, which Lambda keeps
}

// FromEnv reads the configuration from the environment, and names all that is missing.
func FromEnv() (Config, error) {
	config := Config{Channel: os.Getenv(EnvChannel), Chaincode: os.Getenv(EnvChaincode), Logger: slog.New(slog.NewJSONHandler(os.Stderr, nil))}
	var missing []string
	for _, name := range []string{EnvChannel, EnvChaincode} {
		if os.Getenv(name) == "" {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return config, fmt.Errorf("the function's environment lacks %s", strings.Join(missing, ", "))
	}
	return config, nil
}

// ProgramFromEnv says how to run a wrapped program: the function's Handler is its command line, of a program in the function's
// package unless it is an absolute path, or a name that is not there and is looked up in PATH. It gets the function's own
// settings in its environment, and none of AWS's.
func ProgramFromEnv(config Config) (chaincode.ProcessConfig, error) {
	root := os.Getenv("LAMBDA_TASK_ROOT")
	command := strings.Fields(os.Getenv("_HANDLER"))
	if len(command) == 0 {
		return chaincode.ProcessConfig{}, errors.New("the function's Handler is empty: it must be the chaincode's program, with its arguments")
	}
	path := command[0]
	if !filepath.IsAbs(path) {
		if own := filepath.Join(root, path); isFile(own) {
			path = own
		}
	}
	process := chaincode.ProcessConfig{
		Name: config.Chaincode, Path: path, Args: command[1:], Dir: root, Mode: chaincode.Mode(os.Getenv(EnvMode)), Logger: config.Logger,
		StartTimeout: startTimeout,
	}
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); !reserved(name) {
			process.Env = append(process.Env, variable)
		}
	}
	return process, nil
}

// reserved reports whether a variable is no business of the program: credentials, and what Lambda and the adapter are told.
func reserved(name string) bool {
	for _, prefix := range []string{"AWS_", "LAMBDA_", "PEERLESS_", "_", "HOME", "TMPDIR", "PWD"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
