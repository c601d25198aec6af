package api

import (
	"context"
	"fmt"
	"net/http"

	"peerless/shared/receipt"
	"peerless/shared/wire"
)

func (h *Handler) showReceipt(ctx context.Context, p *Principal, in transactionRef) (*receipt.Receipt, error) {
	channel, err := h.Gateway.Channel(ctx, in.channel)
	if err != nil {
		return nil, err
	}
	r, err := channel.Receipt(ctx, in.id)
	if err != nil {
		return nil, in.failure(err)
	}
	chaincode := ""
	if tx, _ := wire.ParseEnvelope(r.Envelope); tx != nil {
		chaincode = tx.Chaincode
	}
	return r, p.allowTransaction(chaincode)
}

// checkpoint is a signed note, which is text.
type checkpoint string

func (c checkpoint) respond(w http.ResponseWriter, _ *http.Request) error {
	writeBody(w, http.StatusOK, "text/plain; charset=utf-8", []byte(c))
	return nil
}

// showCheckpoint is for every reader of the channel: a checkpoint tells the number of blocks and a hash.
func (h *Handler) showCheckpoint(ctx context.Context, _ *Principal, name string) (checkpoint, error) {
	channel, err := h.Gateway.Channel(ctx, name)
	if err != nil {
		return "", err
	}
	signed, err := channel.Checkpoint(ctx)
	if err != nil {
		return "", fmt.Errorf("checkpoint of %s: %w", name, err)
	}
	return checkpoint(signed), nil
}
