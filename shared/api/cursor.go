package api

import (
	"fmt"
	"strconv"
	"strings"

	"peerless/shared/gateway"
)

// A Cursor is a place in a channel's events: "12" is the start of block 12, "12.3" is behind the event of its transaction
// number 3. Ids of server-sent events are cursors.
type Cursor struct {
	Block uint64
	After *uint64 // position of a transaction in Block, from 0; nil: the start of the block
}

// ParseCursor reads what String writes, and nothing else.
func ParseCursor(s string) (Cursor, error) {
	var c Cursor
	block, after, hasAfter := strings.Cut(s, ".")
	n, err := strconv.ParseUint(block, 10, 64)
	c.Block = n
	if err == nil && hasAfter {
		n, err = strconv.ParseUint(after, 10, 64)
		c.After = &n
	}
	if err != nil || c.String() != s {
		return Cursor{}, fmt.Errorf("%q is not a place in the events: want the number of a block, or BLOCK.TRANSACTION as in an event's id", s)
	}
	return c, nil
}

// String writes the cursor.
func (c Cursor) String() string {
	s := strconv.FormatUint(c.Block, 10)
	if c.After != nil {
		s += "." + strconv.FormatUint(*c.After, 10)
	}
	return s
}

// cursorOf is the place behind an event.
func cursorOf(e *gateway.Event) Cursor { return Cursor{e.Block, &e.Tx} }

// advance moves the cursor to the start of block, if that is further on.
func (c Cursor) advance(block uint64) Cursor {
	if block > c.Block {
		return Cursor{Block: block}
	}
	return c
}
