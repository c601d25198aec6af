package pebble

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"

	"peerless/shared/ledger"
)

// Check reads all of a data directory that no process has open: every file against the seal if there is one, every record
// of the log and of the queue, and every row of the state. Any damage is an error that wraps ledger.ErrDamaged and names the place. It
// changes nothing.
//
// Without a seal (the last process did not close the store) the state may be older than the log, and bytes that no record
// needs, such as the end of a record that was never acknowledged, are not checked.
func Check(dir string) error { return CheckFS(vfs.Default, dir) }

// CheckFS is Check on another file system.
func CheckFS(fs vfs.FS, dir string) error {
	d, err := lockDirectory(fs, dir, false)
	if err != nil {
		return pathError(dir, err)
	}
	if err := errors.Join(check(d), d.unlock()); err != nil {
		return pathError(dir, err)
	}
	return nil
}

func check(d *directory) error {
	if _, err := checkSeal(d); err != nil {
		return err
	}
	if err := checkRecords(d); err != nil {
		return err
	}
	blocks, heights, err := checkLog(d)
	if err != nil {
		return err
	}
	if _, err := d.fs.Stat(d.state()); err != nil {
		return nil // there is none yet: Open makes it from the log
	}
	if err := checkState(d, blocks, heights); err != nil {
		return fmt.Errorf("%w: %w", errDamagedState, err)
	}
	return nil
}

// place is where a block's record is.
type place struct {
	channel string
	number  uint64
}

// checkLog reads every record, and returns where each block is, and the height of each channel.
func checkLog(d *directory) (map[position]place, map[string]uint64, error) {
	blocks, heights := make(map[position]place), make(map[string]uint64)
	var plain []byte
	_, _, err := scan(d.fs, d.log(), whole, position{}, func(start, end position, payload []byte) error {
		r, err := parsePayload(payload, &plain)
		if err != nil {
			return fmt.Errorf("%s: record at %d: %w", segmentName(start.segment), start.offset, err)
		}
		if _, err := r.batch(); err != nil {
			return fmt.Errorf("%s: record at %d: %w", segmentName(start.segment), start.offset, err)
		}
		if r.number != heights[r.channel] {
			return damaged("%s: record at %d: block %d of channel %q follows block %d", segmentName(start.segment), start.offset,
				r.number, r.channel, heights[r.channel])
		}
		heights[r.channel]++
		blocks[start] = place{r.channel, r.number}
		return nil
	})
	return blocks, heights, err
}

// checkState reads every row, and compares what it says about the log with the log.
func checkState(d *directory, blocks map[position]place, heights map[string]uint64) error {
	db, err := openDatabase(d.fs, d.state(), Config{}.withDefaults(), true)
	if err != nil {
		return fmt.Errorf("%w: %w", ledger.ErrDamaged, err)
	}
	err = checkRows(db, blocks, heights)
	return errors.Join(err, db.guard(db.Close))
}

func checkRows(db *database, blocks map[position]place, heights map[string]uint64) error {
	indexed := make(map[string]uint64)
	err := each(context.Background(), db.DB, nil, nil, func(key, value []byte) (bool, error) {
		d := decoder{rest: value}
		k := decoder{rest: key[1:]}
		switch key[0] {
		case keyReplay:
			d.position()
		case keyChannel:
			if n := d.uvarint(); n > heights[string(k.all())] {
				return false, damaged("state: %d blocks of channel %q, and the log has %d", n, key[1:], heights[string(key[1:])])
			}
		case keyBlock:
			channel := string(k.bytes())
			number, rest, ok := cutOrdered(k.rest)
			k.rest, k.bad = rest, k.bad || !ok
			at := d.position()
			d.uvarint()
			if blocks[at] != (place{channel, number}) {
				return false, damaged("state: block %d of channel %q is not where it should be", number, channel)
			}
			indexed[channel]++
		case keyHash:
			k.bytes()
			k.all()
			d.uvarint()
		case keyTx:
			k.bytes()
			_, ok := parseID(k.all())
			k.bad = k.bad || !ok
			d.tx(&ledger.TxEntry{})
		case keyState:
			k.bytes()
			k.bytes()
			k.all()
			d.item()
		case keyHistory:
			k.bytes()
			k.bytes()
			k.bytes()
			_, ok := historyVersion(k.all())
			k.bad = k.bad || !ok
			d.change(&ledger.Change{})
		default:
			k.bad = true
		}
		if !k.done() || !d.done() {
			return false, damaged("state: row %q", key)
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	savepoints, err := db.savepoints()
	if err != nil {
		return err
	}
	for channel, n := range savepoints {
		if indexed[channel] != n {
			return damaged("state: places of %d blocks of channel %q, of %d", indexed[channel], channel, n)
		}
	}
	return nil
}
