package api

import "time"

// What one request may bring. Reaching a limit is served; exceeding it is 413 TOO_LARGE, naming the limit in bytes.
const (
	// MaxArgument is the size of the function's name or of one argument or transient value, decoded. Fabric names no
	// limit per argument; 1 MiB is what the platform promises for a value (SURFACE.md, Limits).
	MaxArgument = 1 << 20
	// MaxTransaction is the size of all arguments and transient values together, decoded: what leaves room for the
	// envelope in the 6 MB of Lambda's synchronous payload
	// (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
	MaxTransaction = 5 << 20
	// MaxBody is the size of a JSON request body: that payload itself. JSON may spend up to six bytes on one.
	MaxBody = 6 << 20
	// MaxPackage is the size of an uploaded chaincode package: the default of Fabric's peer for one message
	// (maxRecvMsgSize, 100 MiB, in core.yaml).
	MaxPackage = 100 << 20
	// MaxHeader is the size of a request's line and headers. A history key travels in the path, percent-encoded.
	MaxHeader = 64 << 10
	// MaxIdempotencyKey is the length of an Idempotency-Key in bytes.
	MaxIdempotencyKey = 255
	// MaxGroup is the length of a Message-Group-Id in bytes: SQS's.
	MaxGroup = 128
	// DefaultDeadLetters and MaxDeadLetters bound how many dead letters one page holds.
	DefaultDeadLetters, MaxDeadLetters = 100, 1000
	// MaxEventNames is how many names of events a webhook may choose.
	MaxEventNames = 100
	// MaxUser is the length of a user's name in bytes: X.520's bound for a common name (RFC 5280, ub-common-name).
	MaxUser = 64
)

// Pages of blocks and events.
const (
	// DefaultBlocks and MaxBlocks bound how many blocks one page holds.
	DefaultBlocks, MaxBlocks = 20, 100
	// DefaultHistory and MaxHistory bound how many changes of a key one page holds: a query page (SURFACE.md, Limits).
	DefaultHistory, MaxHistory = 100, 1000
	// maxPage ends a page of blocks early once it holds this many bytes of Fabric blocks; it always has one block. The
	// rest of Lambda's payload is for what JSON adds.
	maxPage = 2 << 20
	// MaxEvents bounds how many events one long poll answers.
	MaxEvents = 100
	// MaxWait is the longest long poll: API Gateway gives up after 30 s
	// (https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html).
	MaxWait = 25 * time.Second
)

// How long the server waits for a client.
const (
	headerTimeout = 10 * time.Second
	// readTimeout is for a whole request but a package, which has packageTimeout.
	readTimeout    = time.Minute
	packageTimeout = 15 * time.Minute
	idleTimeout    = 2 * time.Minute
	// writeTimeout runs from the end of the request's header: it covers the contract's time (25 s) and all retries. For
	// an event stream it is the time for one write: who reads slower is cut off, and resumes.
	writeTimeout = 2 * time.Minute
	// streamWriteTimeout is the time a reader of an event stream has to take one event.
	streamWriteTimeout = 30 * time.Second
	// closingWriteTimeout is that time when the server ends.
	closingWriteTimeout = time.Second
	// defaultHeartbeat is the pause after which a silent event stream says that it lives; proxies drop at 60 s.
	defaultHeartbeat = 15 * time.Second
)
