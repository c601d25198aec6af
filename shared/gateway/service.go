package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"peerless/shared/chaincode"
	"peerless/shared/ledger"
	"peerless/shared/organization"
)

// Limits, with their sources. A Config may lower them.
const (
	// MaxArgument and MaxValue bound one argument of a call and one value written, in bytes: SURFACE.md.
	MaxArgument = 1 << 20
	MaxValue    = 1 << 20
	// MaxTransaction bounds an envelope, in bytes: a Lambda function's synchronous payload is 6 MB.
	MaxTransaction = 5 << 20
	// ChaincodeTime is how long a contract may take: API Gateway gives up after 30 s.
	ChaincodeTime = 25 * time.Second
	// TimeWindow is how far a proposal's timestamp may be off, Fabric's peer.authentication.timewindow.
	TimeWindow = 15 * time.Minute
)

// The state databases of Fabric, as core.yaml's ledger.state.stateDatabase names them.
const (
	CouchDB = "CouchDB"
	LevelDB = "goleveldb"
)

// Chaincodes says where chaincodes run.
type Chaincodes interface {
	// Host returns what runs a channel's chaincode for an organisation, or an error wrapping ledger.ErrNotFound if nothing is
	// installed for it. Hosts are compared: organisations with one host run the same, and it is run once for all of them.
	Host(ctx context.Context, channel, chaincode, mspID string) (chaincode.Host, error)
}

// Packages is what Chaincodes implement that know what a chaincode is made of.
type Packages interface {
	// PackageID returns the id, LABEL:SHA256, of the package that runs a channel's chaincode for an organisation; empty if that is
	// none, or unknown.
	PackageID(ctx context.Context, channel, chaincode, mspID string) (string, error)
}

// packageID returns the id of the package that runs a chaincode here for an organisation, empty if there is none.
func (s *Service) packageID(ctx context.Context, channel, chaincode, mspID string) (string, error) {
	packages, ok := s.Chaincodes.(Packages)
	if !ok {
		return "", nil
	}
	return packages.PackageID(ctx, channel, chaincode, mspID)
}

// Organizations knows who endorses for organisations.
type Organizations interface {
	// Endorser returns who endorses for an organisation, or an error wrapping organization.ErrNotFound if nobody is known to.
	Endorser(mspID string) (*organization.Endorser, error)
}

// A Config says how a service works. Ledger, Chaincodes and Organizations are required.
type Config struct {
	Ledger        *ledger.Ledger
	Chaincodes    Chaincodes
	Organizations Organizations

	// Remote asks endorsers that run elsewhere. Default: none is asked.
	Remote Remote
	// StateDatabase is the one that contracts are to find: CouchDB, the default, answers rich queries, LevelDB refuses them. It is
	// the store's state either way.
	StateDatabase string
	// ChaincodeTime a contract may take for one execution. Default ChaincodeTime.
	ChaincodeTime time.Duration
	// Attempts is how often a transaction that loses its race is simulated in all. Default 20.
	Attempts int
	// Clock tells the time of proposals. Default time.Now.
	Clock  func() time.Time
	Logger *slog.Logger // default: none
}

// Service evaluates, endorses and submits transactions. Safe for concurrent use.
type Service struct {
	Config
	definitions definitionCache

	mu       sync.Mutex
	underway map[string]chan struct{} // transactions with an idempotency key, by channel and id
}

// New returns a service.
func New(config Config) (*Service, error) {
	if config.Ledger == nil || config.Chaincodes == nil || config.Organizations == nil {
		return nil, errors.New("new gateway: a ledger, chaincodes and organisations are required")
	}
	switch config.StateDatabase {
	case "":
		config.StateDatabase = CouchDB
	case CouchDB, LevelDB:
	default:
		return nil, fmt.Errorf("new gateway: the state database is %s or %s, not %q", CouchDB, LevelDB, config.StateDatabase)
	}
	if config.ChaincodeTime == 0 {
		config.ChaincodeTime = ChaincodeTime
	}
	if config.Attempts == 0 {
		config.Attempts = 20
	}
	if config.Clock == nil {
		config.Clock = time.Now
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	return &Service{Config: config, underway: make(map[string]chan struct{})}, nil
}

// Channel returns a channel, or an Error of kind NotFound.
func (s *Service) Channel(ctx context.Context, name string) (*ledger.Channel, error) {
	channel, err := s.Ledger.Channel(ctx, name)
	if err != nil {
		return nil, storeError("", fmt.Sprintf("channel %q", name), err)
	}
	return channel, nil
}

// Channels returns the names of the channels, sorted.
func (s *Service) Channels(ctx context.Context) ([]string, error) {
	names, err := s.Ledger.Channels(ctx)
	if err != nil {
		return nil, storeError("", "channels", err)
	}
	return names, nil
}

// storeError makes an Error of what the ledger says.
func storeError(stage, what string, err error) *Error {
	e := &Error{Stage: stage, Cause: err, Code: codes.Internal, Message: fmt.Sprintf("%s: %v", what, err)}
	switch {
	case errors.Is(err, ledger.ErrNotFound):
		e.Kind, e.Code, e.Message = NotFound, codes.NotFound, what+" does not exist"
	case errors.Is(err, ledger.ErrExists):
		e.Kind, e.Code, e.Message = AlreadyExists, codes.AlreadyExists, what+" exists already"
	case errors.Is(err, ledger.ErrRefused):
		e.Kind, e.Code = Unavailable, codes.Unavailable
	case errors.Is(err, ledger.ErrOutcomeUnknown):
		e.Kind, e.Code = OutcomeUnknown, codes.Unavailable
	case errors.Is(err, ledger.ErrUnavailable):
		e.Kind, e.Code, e.Message = Unavailable, codes.Unavailable, what+": "+ledger.ErrUnavailable.Error()+": try again"
	case errors.Is(err, context.DeadlineExceeded):
		e.Kind, e.Code, e.Message = Unavailable, codes.DeadlineExceeded, "deadline exceeded"
	case errors.Is(err, context.Canceled):
		e.Kind, e.Code, e.Message = Unavailable, codes.Canceled, "the caller went away"
	case errors.Is(err, ledger.ErrBusy):
		e.Kind, e.Code, e.Message = Unavailable, codes.Unavailable, "too many transactions wait on "+what+": try again later"
	case errors.Is(err, ledger.ErrStagedFull):
		e.Kind, e.Code = Unavailable, codes.ResourceExhausted
		e.Message = ledger.ErrStagedFull.Error() + " on " + what + ": submit what was endorsed, or try again later"
	case errors.Is(err, ledger.ErrClosed):
		e.Kind, e.Code, e.Message = Unavailable, codes.Unavailable, "the server is shutting down: try again"
	}
	return e
}
