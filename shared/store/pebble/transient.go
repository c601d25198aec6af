package pebble

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"peerless/shared/ledger"
)

// The private log is swept when it holds so many blocks or bytes, or when so much time has passed since something in it could go.
const (
	sweepBlocks = 64
	sweepBytes  = 8 << 20
	sweepAfter  = time.Minute

	// compactAfter is how long values that are gone may lie about in Pebble's files.
	compactAfter = 10 * time.Minute
)

// Stage implements ledger.Transient.
func (s *Store) Stage(ctx context.Context, channel string, sets []ledger.StagedSet) error {
	err := s.use(ctx)
	if err == nil {
		defer s.lifetime.RUnlock()
		err = s.private.stage(channel, sets)
	}
	if err != nil {
		return fmt.Errorf("stage %d private sets of channel %q: %w", len(sets), channel, classify(err))
	}
	return nil
}

func (p *privateLog) stage(channel string, sets []ledger.StagedSet) error {
	if channel == "" {
		return errors.New("no channel")
	}
	payloads := make([][]byte, len(sets))
	var now time.Time
	for i, set := range sets {
		if set.ID == "" || len(set.Set) == 0 || len(set.Set) > maxPrivateBytes {
			return errors.New("a set has no id, or no fitting size")
		}
		payload := appendString(appendString([]byte{privateStaged}, channel), set.ID)
		payload = binary.AppendUvarint(binary.AppendUvarint(payload, set.Height), uint64(max(0, set.At.Unix())))
		payloads[i], now = append(payload, set.Set...), set.At
	}
	p.mu.Lock()
	gone, err := p.makeRoom(channel, sets, payloads, now)
	if err != nil {
		p.mu.Unlock()
		return err
	}
	segment, offsets, err := p.write(append(gone, payloads...)...)
	if err != nil {
		p.mu.Unlock()
		return err
	}
	end := segment.written.Load()
	for i, set := range sets {
		p.place(channel, set.ID, stagedPlace{segment.name, offsets[len(gone)+i], len(payloads[i]), set.Height, max(0, set.At.Unix())})
	}
	p.mu.Unlock()
	return segment.sync(end)
}

// makeRoom forgets what waited too long if these sets do not fit, and returns the records that say so. p.mu is held.
func (p *privateLog) makeRoom(channel string, sets []ledger.StagedSet, payloads [][]byte, now time.Time) (records [][]byte, err error) {
	more := int64(0)
	for i, set := range sets {
		more += int64(len(payloads[i]) - p.staged[channel][set.ID].length)
	}
	if p.limits.Fit(p.waiting[channel]+more, p.waiting[""]+more) {
		return nil, nil
	}
	var waiting []ledger.StagedSize
	for name, staged := range p.staged {
		for id, at := range staged {
			waiting = append(waiting, ledger.StagedSize{Channel: name, ID: id, Bytes: int64(at.length), At: time.Unix(at.at, 0)})
		}
	}
	forgotten, err := p.limits.MakeRoom(channel, more, now, waiting)
	for _, set := range forgotten {
		p.displace(set.Channel, set.ID)
		record := binary.AppendUvarint(appendString([]byte{privateForgot}, set.Channel), 1)
		records = append(records, appendString(record, set.ID))
	}
	return records, err
}

// Staged implements ledger.Transient.
func (s *Store) Staged(ctx context.Context, channel string, ids []string) ([][]byte, error) {
	err := s.use(ctx)
	var sets [][]byte
	if err == nil {
		defer s.lifetime.RUnlock()
		sets, err = s.private.find(channel, ids)
	}
	if err != nil {
		return nil, fmt.Errorf("%d private sets of channel %q: %w", len(ids), channel, classify(err))
	}
	return sets, nil
}

func (p *privateLog) find(channel string, ids []string) ([][]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	sets := make([][]byte, len(ids))
	for i, id := range ids {
		at, ok := p.staged[channel][id]
		if !ok {
			continue
		}
		payload, err := p.read(at)
		if err != nil {
			return nil, err
		}
		d := decoder{rest: payload[1:]}
		d.bytes()
		d.bytes()
		d.uvarint()
		if payload[0] == privateStaged {
			d.uvarint() // the time
		}
		if sets[i] = d.all(); !d.done() {
			return nil, damaged("private log: %s: record at %d", at.segment, at.offset)
		}
	}
	return sets, nil
}

// Unstage implements ledger.Transient. What is forgotten is on disk until the next sweep.
func (s *Store) Unstage(ctx context.Context, channel string, ids []string, below uint64) error {
	err := s.use(ctx)
	if err == nil {
		defer s.lifetime.RUnlock()
		err = s.private.forget(channel, ids, below)
		s.sweepLater()
	}
	if err != nil {
		return fmt.Errorf("unstage private sets of channel %q: %w", channel, classify(err))
	}
	return nil
}

func (p *privateLog) forget(channel string, ids []string, below uint64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	ids = slices.Clone(ids)
	for id, at := range p.staged[channel] {
		if at.height < below {
			ids = append(ids, id)
		}
	}
	ids = slices.DeleteFunc(ids, func(id string) bool { _, ok := p.staged[channel][id]; return !ok })
	if len(ids) == 0 {
		return nil
	}
	for _, id := range ids {
		p.displace(channel, id)
	}
	payload := binary.AppendUvarint(appendString([]byte{privateForgot}, channel), uint64(len(ids)))
	for _, id := range ids {
		payload = appendString(payload, id)
	}
	_, _, err := p.write(payload) // if a crash takes it, they are forgotten when they are too old
	return err
}

// Unapplied implements ledger.Transient: Append applies what it appends.
func (s *Store) Unapplied(context.Context, string, uint64, []byte) ([]ledger.Write, error) {
	return nil, nil
}

// keep makes a block's private writes durable until Pebble has them on disk.
func (p *privateLog) keep(channel string, batch *ledger.Batch) error {
	payload := binary.AppendUvarint(appendString([]byte{privateOfBlock}, channel), batch.Block)
	payload = appendWrites(appendString(payload, string(batch.Hash)), batch.Private)
	p.mu.Lock()
	segment, _, err := p.write(payload)
	if err != nil {
		p.mu.Unlock()
		return err
	}
	end := segment.written.Load()
	p.blocks++
	for _, w := range batch.Private {
		p.stale[privateRange{channel, w.Namespace}] = true // it may have replaced a value
	}
	p.mu.Unlock()
	return segment.sync(end)
}

// sweepLater sees to it that the private log is swept: now if it has grown, else in a while.
func (s *Store) sweepLater() {
	p := s.private
	p.mu.Lock()
	full := p.blocks >= sweepBlocks || p.bytes >= max(sweepBytes, 2*p.waiting[""])
	p.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	after := sweepAfter
	if full {
		after = 0
	}
	if s.sweeper != nil && (!full || !s.sweeper.Stop()) {
		return // it is on its way
	}
	s.sweeper = time.AfterFunc(after, func() {
		if s.use(context.Background()) != nil {
			return
		}
		defer s.lifetime.RUnlock()
		if err := s.sweep(context.Background(), false); err != nil {
			s.config.Logger.Warn("private data that is gone is still on disk", "error", classify(err))
		}
	})
}

// Compact takes what was deleted, overwritten, expired or committed off the disk: afterwards no file holds a private value
// that the state does not have, unless an open view can read it. It may take as long as rewriting all private data.
func (s *Store) Compact(ctx context.Context) error {
	err := s.use(ctx)
	if err == nil {
		defer s.lifetime.RUnlock()
		if err = s.sweep(ctx, true); err == nil {
			err = s.awaitRemoval(ctx)
		}
	}
	if err != nil {
		return fmt.Errorf("compact: %w", classify(err))
	}
	return nil
}

// removalTime is how long Compact waits for tables that a view may hold on to.
const removalTime = 10 * time.Second

// awaitRemoval waits until Pebble has removed the tables that it does not use any more, which it does by and by.
func (s *Store) awaitRemoval(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, removalTime)
	defer cancel()
	for {
		levels, err := s.db.SSTables()
		if err != nil {
			return err
		}
		used := make(map[string]bool)
		for _, tables := range levels {
			for _, table := range tables {
				used[fmt.Sprintf("%06d.sst", uint64(table.BackingSSTNum))] = true
			}
		}
		names, err := s.config.FS.List(s.dir.state())
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(names, func(name string) bool { return strings.HasSuffix(name, ".sst") && !used[name] }) {
			return nil
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("old tables are still in use: close the views that are open: %w", ctx.Err())
		}
	}
}

// sweep flushes Pebble, after which no block in the private log is needed, removes its segments, and, when it is time or if all
// is wanted, compacts the ranges in which private values lie that are gone.
func (s *Store) sweep(ctx context.Context, all bool) error {
	s.sweeping.Lock()
	defer s.sweeping.Unlock()
	s.mu.Lock()
	s.sweeper = nil
	s.mu.Unlock()
	p := s.private
	older, stale, err := p.turn(all)
	if err != nil {
		return err
	}
	if err := s.db.writable(); err != nil {
		return err
	}
	if err := s.db.guard(s.db.Flush); err != nil {
		return err
	}
	for r := range stale {
		start := stateKey(r.channel, r.namespace, "")
		if err := s.db.guard(func() error { return s.db.Compact(ctx, start, keyAfter(start), false) }); err != nil {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.remove(older)
}

// turn rotates the log at a moment when no block is in it and not yet in Pebble, and says which ranges are to be compacted.
func (p *privateLog) turn(all bool) (older []string, stale map[privateRange]bool, err error) {
	p.appending.Lock()
	defer p.appending.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if older, err = p.rotate(); err != nil {
		return nil, nil, err
	}
	p.blocks = 0
	if all || len(p.stale) > 0 && time.Since(p.compacted) >= compactAfter {
		stale, p.stale, p.compacted = p.stale, make(map[privateRange]bool), time.Now()
	}
	return older, stale, nil
}
