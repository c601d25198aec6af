package queue

import (
	"context"
	"errors"
	"time"
)

// Store keeps numbered records. It is safe for concurrent use.
type Store interface {
	// Put keeps a record under a number, in place of the one that is there. nil means that it is on the disk. After an error the
	// old record or the new one is there.
	Put(ctx context.Context, number uint64, record []byte) error
	// Get returns a record, or an error wrapping ledger.ErrNotFound.
	Get(ctx context.Context, number uint64) ([]byte, error)
	// Delete removes a record; one that is not there is removed already. After a power failure it may be back.
	Delete(ctx context.Context, number uint64) error
	// Each calls visit for all records in the order of their numbers, until it returns an error. visit must not keep the record.
	Each(ctx context.Context, visit func(number uint64, record []byte) error) error
}

// A kept message is what a record holds, as JSON.
type kept struct {
	Message    *Message  `json:"message"`
	Group      string    `json:"group,omitempty"`
	AcceptedAt time.Time `json:"acceptedAt"`
	Death      *death    `json:"death,omitempty"` // of a dead letter
}

type death struct {
	Code     string    `json:"code"`
	Reason   string    `json:"reason"`
	Attempts int       `json:"attempts"`
	At       time.Time `json:"at"`
}

// A DeadLetter is a message that was given up.
type DeadLetter struct {
	Message    *Message
	Group      string
	Code       string // as of the API's problems
	Reason     string
	Attempts   int // how often it was run
	AcceptedAt time.Time
	DiedAt     time.Time
}

// Status counts a channel's messages.
type Status struct {
	Waiting     int       // to be run, or to be run again
	Working     int       // being run
	DeadLetters int       // given up
	Oldest      time.Time // when the oldest was accepted that waits or is being run; zero if there is none
}

var (
	// ErrFull: no message can be taken until some have been run, or dead letters removed.
	ErrFull = errors.New("the queue is full")
	// ErrTooLarge: the message has more bytes than the queue takes.
	ErrTooLarge = errors.New("the message is too large for the queue")
	// ErrReused: the message's id was used before, for another request.
	ErrReused = errors.New("the message's id was used before, for another function or other arguments: take a new one for a new transaction")
	// ErrOrder: the queue keeps no order, and the message is of a group.
	ErrOrder = errors.New("the queue keeps no order")
	// ErrNotFound: there is no such dead letter.
	ErrNotFound = errors.New("there is no such dead letter")
	// ErrStopped: the queue was stopped before the call.
	ErrStopped = errors.New("the queue has stopped")
)
