package dynamodb

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"golang.org/x/sync/errgroup"

	"peerless/shared/ledger"
)

// letterTime is how long what is in an inbox stays there at least: nobody waits for a block so long.
const letterTime = time.Hour

// letterMark begins the sort keys of letters.
const letterMark = 1

func inboxPartition(channel string, number uint64) string {
	return partition("inbox", channel, fmt.Sprintf("%020d", number))
}

// Leave implements ledger.SharedStore.
func (s *Store) Leave(ctx context.Context, channel string, number uint64, letters []ledger.Letter) (claimed bool, err error) {
	if err := s.usable(ctx, channel); err != nil {
		return false, s.failed(ctx, channel, "leave letters", err)
	}
	pk, expires := inboxPartition(channel, number), numberOf(uint64(time.Now().Add(letterTime).Unix()))
	items := make([]item, len(letters))
	for i, letter := range letters {
		digest := sha256.Sum256(letter.Envelope)
		it := newItem(pk, append([]byte{letterMark}, digest[:]...))
		it[envelope], it[expiry] = bytesOf(letter.Envelope), expires
		if letter.Trusted {
			it[trusted] = numberOf(1)
		}
		items[i] = it
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.put(ctx, items) })
	group.Go(func() (err error) {
		claim := newItem(pk, only)
		claim[expiry] = expires
		claimed, err = putItem(ctx, s.client, s.table, claim, absent, nil)
		return err
	})
	if err := group.Wait(); err != nil {
		return false, s.failed(ctx, channel, fmt.Sprintf("leave letters for block %d", number), err)
	}
	return claimed, nil
}

// Letters implements ledger.SharedStore: as many as make 1 MB.
func (s *Store) Letters(ctx context.Context, channel string, number uint64) ([]ledger.Letter, error) {
	err := s.usable(ctx, channel)
	var items []item
	if err == nil {
		items, err = NewReader(s.client, s.table, channel).query(inboxPartition(channel, number), []byte{letterMark}, nil, true, maxPage).next(ctx)
	}
	if err != nil {
		return nil, s.failed(ctx, channel, fmt.Sprintf("letters for block %d", number), err)
	}
	letters := make([]ledger.Letter, len(items))
	for i, it := range items {
		if letters[i].Envelope, err = bytesIn(it, envelope); err != nil {
			return nil, err
		}
		letters[i].Trusted = it[trusted] != nil
	}
	return letters, nil
}

// Outcomes implements ledger.SharedStore.
func (s *Store) Outcomes(ctx context.Context, channel string, number uint64) ([]ledger.Outcome, error) {
	err := s.usable(ctx, channel)
	var it item
	if err == nil {
		it, err = getItem(ctx, s.client, s.table, blockPartition(channel, number), only, partitionKey, fates)
	}
	if err == nil && it == nil {
		err = ledger.ErrNotFound
	}
	if err != nil {
		return nil, s.failed(ctx, channel, fmt.Sprintf("outcomes of block %d", number), err)
	}
	s.known(channel).raise(&s.known(channel).height, number+1)
	if it[fates] == nil {
		return nil, nil
	}
	encoded, err := bytesIn(it, fates)
	if err != nil {
		return nil, err
	}
	outcomes, err := parseOutcomes(encoded)
	if err != nil {
		return nil, damaged(it, fates)
	}
	return outcomes, nil
}

// outcomeSize is that of an encoded outcome: digest, position + 1 or 0 if it is not recorded, code.
const outcomeSize = sha256.Size + 4 + 4

func formatOutcomes(outcomes []ledger.Outcome) []byte {
	b := make([]byte, 0, len(outcomes)*outcomeSize)
	for _, o := range outcomes {
		place := uint32(0)
		if o.Recorded {
			place = uint32(o.Tx) + 1
		}
		b = append(b, o.Digest[:]...)
		b = binary.BigEndian.AppendUint32(b, place)
		b = binary.BigEndian.AppendUint32(b, uint32(o.Code))
	}
	return b
}

func parseOutcomes(b []byte) ([]ledger.Outcome, error) {
	if len(b)%outcomeSize != 0 {
		return nil, errors.New("wrong length")
	}
	var outcomes []ledger.Outcome
	for ; len(b) > 0; b = b[outcomeSize:] {
		o := ledger.Outcome{Digest: [sha256.Size]byte(b)}
		if place := binary.BigEndian.Uint32(b[sha256.Size:]); place > 0 {
			o.Recorded, o.Tx = true, uint64(place-1)
		}
		o.Code = peer.TxValidationCode(int32(binary.BigEndian.Uint32(b[sha256.Size+4:])))
		outcomes = append(outcomes, o)
	}
	return outcomes, nil
}
