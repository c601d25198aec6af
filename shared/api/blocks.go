package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"peerless/shared/ledger"
)

const mediaProtobuf = "application/x-protobuf"

type blockRange struct {
	channel string
	from    int64 // negative: that many before the end
	limit   int
}

func decodeBlockRange(q *request) (*blockRange, error) {
	query, err := parseQuery(q.Request, "from", "limit")
	if err != nil {
		return nil, err
	}
	in := &blockRange{channel: q.channel, limit: DefaultBlocks}
	if v := query.Get("from"); query.Has("from") {
		if in.from, err = strconv.ParseInt(v, 10, 64); err != nil {
			return nil, invalid("from", "from must be the number of a block, or negative to count from the end")
		}
	}
	if v := query.Get("limit"); query.Has("limit") {
		if in.limit, err = strconv.Atoi(v); err != nil || in.limit < 1 || in.limit > MaxBlocks {
			return nil, invalid("limit", fmt.Sprintf("limit must be a number from 1 to %d", MaxBlocks))
		}
	}
	return in, nil
}

// blockList is a page of blocks. Next is where the following page starts, left out at the end of the chain.
type blockList struct {
	Height uint64       `json:"height"`
	Blocks []*blockView `json:"blocks"`
	Next   *uint64      `json:"next,omitempty"`
}

func (h *Handler) listBlocks(ctx context.Context, p *Principal, in *blockRange) (*blockList, error) {
	if err := p.allowWhole(); err != nil {
		return nil, err
	}
	channel, err := h.Gateway.Channel(ctx, in.channel)
	if err != nil {
		return nil, err
	}
	height, err := channel.Height(ctx)
	if err != nil {
		return nil, fmt.Errorf("height of %s: %w", in.channel, err)
	}
	next := uint64(max(in.from, 0))
	if in.from < 0 && uint64(-in.from) < height {
		next = height - uint64(-in.from)
	}
	list := &blockList{Height: height, Blocks: []*blockView{}}
	for size := 0; next < height && len(list.Blocks) < in.limit && size < maxPage; next++ {
		block, err := readBlock(ctx, channel, next)
		if err != nil {
			return nil, err
		}
		size += len(block.raw)
		list.Blocks = append(list.Blocks, viewBlock(block))
	}
	if next < height {
		list.Next = &next
	}
	return list, nil
}

// allowWhole is for what shows all chaincodes of a channel.
func (p *Principal) allowWhole() error {
	if len(p.Chaincodes) > 0 {
		return forbidden("this key is for certain chaincodes, and cannot read whole blocks")
	}
	return nil
}

type blockRef struct {
	channel string
	number  uint64
	raw     bool // the Fabric block, as protobuf
}

func decodeBlockRef(q *request) (*blockRef, error) {
	number, err := strconv.ParseUint(q.PathValue("n"), 10, 64)
	if err != nil {
		return nil, invalid("n", "a block is named by its number, from 0 on")
	}
	return &blockRef{q.channel, number, accepts(q.Request, mediaProtobuf)}, nil
}

func (h *Handler) showBlock(ctx context.Context, p *Principal, in *blockRef) (any, error) {
	if err := p.allowWhole(); err != nil {
		return nil, err
	}
	channel, err := h.Gateway.Channel(ctx, in.channel)
	if err != nil {
		return nil, err
	}
	if in.raw {
		raw, err := channel.RawBlock(ctx, in.number)
		if err != nil {
			return nil, in.missing(err)
		}
		return protobuf(raw), nil
	}
	block, err := readBlock(ctx, channel, in.number)
	if err != nil {
		return nil, in.missing(err)
	}
	return viewBlock(block), nil
}

// missing says that there is no such block, in words that no store has a part in; other errors it leaves.
func (in *blockRef) missing(err error) error {
	if errors.Is(err, ledger.ErrNotFound) {
		return &Problem{Code: CodeNotFound, Detail: fmt.Sprintf("the channel %q has no block %d", in.channel, in.number)}
	}
	return fmt.Errorf("read block %d: %w", in.number, err)
}

// protobuf is a marshalled message. It varies with Accept.
type protobuf []byte

func (b protobuf) respond(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Vary", "Accept")
	writeBody(w, http.StatusOK, mediaProtobuf, b)
	return nil
}

type transactionRef struct{ channel, id string }

func decodeTransactionRef(q *request) (transactionRef, error) {
	return transactionRef{q.channel, q.PathValue("id")}, nil
}

// failure is the error of looking the transaction up.
func (ref transactionRef) failure(err error) error {
	if problemOf(err).Code == CodeNotFound && !errors.Is(err, ledger.ErrNoCheckpoints) {
		return &Problem{Code: CodeNotFound, TransactionID: ref.id,
			Detail: fmt.Sprintf("the channel %q has no transaction %q", ref.channel, ref.id)}
	}
	return fmt.Errorf("find transaction %s: %w", ref.id, err)
}

// allowTransaction is for what shows a transaction of one chaincode, "" if it is of none.
func (p *Principal) allowTransaction(chaincode string) error {
	if len(p.Chaincodes) > 0 && !slices.Contains(p.Chaincodes, chaincode) {
		return forbidden("this key is not for the chaincode of this transaction")
	}
	return nil
}

// located is a transaction and where it stands.
type located struct {
	BlockNumber uint64 `json:"blockNumber"`
	transactionView
}

func (h *Handler) showTransaction(ctx context.Context, p *Principal, in transactionRef) (*located, error) {
	channel, err := h.Gateway.Channel(ctx, in.channel)
	if err != nil {
		return nil, err
	}
	entry, err := channel.Entry(ctx, in.id)
	if err != nil {
		return nil, in.failure(err)
	}
	block, err := readBlock(ctx, channel, entry.Version.Block)
	if err != nil {
		return nil, err
	}
	if entry.Version.Tx >= uint64(len(block.block.GetData().GetData())) {
		return nil, fmt.Errorf("find transaction %s: block %d has no position %d: %w", in.id, entry.Version.Block, entry.Version.Tx, ledger.ErrDamaged)
	}
	view := viewTransaction(block.block, int(entry.Version.Tx))
	chaincode := ""
	if view.Chaincode != nil {
		chaincode = view.Chaincode.Name
	}
	if err := p.allowTransaction(chaincode); err != nil {
		return nil, err
	}
	view.ValidationCode = entry.Code.String()
	return &located{entry.Version.Block, view}, nil
}
