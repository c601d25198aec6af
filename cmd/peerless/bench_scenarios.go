package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"peerless/shared/deploy"
)

// creating is a load of new assets, numbered from first on.
func (b *bench) creating(first int) benchLoad {
	return benchLoad{
		what: b.scenario, path: benchPath(defaultChannel, "submit"), submits: true, clients: b.config.clients, duration: b.config.duration,
		body: func(body []byte, n int) []byte { return createBody(body, first+n) },
	}
}

// with starts a server on new data, measures, and audits the chain. f's error ends the server at once.
func (b *bench) with(ctx context.Context, config benchServerConfig, f func(*benchServer) error) (err error) {
	if config.data, err = b.newData(); err != nil {
		return err
	}
	s, err := b.start(ctx, config)
	if err != nil {
		return err
	}
	if err := f(s); err != nil {
		return errors.Join(err, s.kill())
	}
	return b.closeAndAudit(ctx, s)
}

func (b *bench) creates(ctx context.Context) error {
	return b.measureCreates(ctx, "creates, contract in process", benchServerConfig{}, b.config.clients)
}

func (b *bench) child(ctx context.Context) error {
	program, err := b.buildContract(ctx)
	if err != nil {
		return err
	}
	return b.measureCreates(ctx, "creates, contract in a child process", benchServerConfig{program: program}, b.config.clients)
}

func (b *bench) latency(ctx context.Context) error {
	return b.measureCreates(ctx, "creates, one client alone", benchServerConfig{}, 1)
}

func (b *bench) measureCreates(ctx context.Context, title string, config benchServerConfig, clients int) error {
	return b.with(ctx, config, func(s *benchServer) error {
		l := b.creating(0)
		l.clients = clients
		r, err := b.run(ctx, s, l)
		if err == nil {
			b.add(loadRow(title, clients, r))
		}
		return err
	})
}

// buildContract builds the contract as a program of its own, once.
func (b *bench) buildContract(ctx context.Context) (string, error) {
	if b.program != "" {
		return b.program, nil
	}
	source, err := findSource("")
	if err != nil {
		return "", err
	}
	built, err := deploy.Build(ctx, filepath.Join(source, "contracts", "assettransfer"), deploy.BuildConfig{})
	if err != nil {
		return "", err
	}
	b.program = built.Path
	return b.program, nil
}

// evaluated is how many assets evaluate reads.
const evaluated = 1000

func (b *bench) evaluate(ctx context.Context) error {
	return b.with(ctx, benchServerConfig{preload: evaluated}, func(s *benchServer) error {
		r, err := b.run(ctx, s, benchLoad{
			what: b.scenario, path: benchPath(defaultChannel, "evaluate"), clients: b.config.clients, duration: b.config.duration,
			body: func(body []byte, n int) []byte { return readBody(body, n%evaluated) },
		})
		if err == nil {
			b.add(loadRow("evaluate, one asset read", b.config.clients, r))
		}
		return err
	})
}

// queried is how many indexed assets rich queries choose from, at most: --keys may lower it.
const queried = 100_000

func (b *bench) query(ctx context.Context) error {
	keys := min(queried, b.config.keys)
	return b.with(ctx, benchServerConfig{preload: keys, query: true}, func(s *benchServer) error {
		for _, page := range []int{10, 500} {
			page = min(page, keys)
			r, err := b.run(ctx, s, benchLoad{
				what: fmt.Sprintf("%s, pages of %d", b.scenario, page), path: benchPath(defaultChannel, "evaluate"), clients: b.config.clients, duration: b.config.duration,
				body: func(body []byte, n int) []byte { return queryBody(body, n*7919%(keys-page+1), page) },
			})
			if err != nil {
				return err
			}
			row := loadRow(fmt.Sprintf("rich query, indexed, pages of %d", page), b.config.clients, r)
			row.Keys = keys
			b.add(row)
		}
		return nil
	})
}

func (b *bench) hotKey(ctx context.Context) error {
	for _, clients := range []int{16, 64, 256} {
		err := b.with(ctx, benchServerConfig{preload: 1}, func(s *benchServer) error {
			r, err := b.run(ctx, s, benchLoad{
				what: fmt.Sprintf("%s, %d clients", b.scenario, clients), path: benchPath(defaultChannel, "submit"), submits: true, clients: clients,
				duration: b.config.duration, body: transferBody,
			})
			if err == nil {
				b.add(loadRow("updates of one key", clients, r))
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// fill commits config.transactions on a server.
func (b *bench) fill(ctx context.Context, s *benchServer) (*benchResult, error) {
	l := b.creating(0)
	l.requests = b.config.transactions
	r, err := b.run(ctx, s, l)
	if err == nil && r.succeeded != l.requests {
		err = fmt.Errorf("%d of %d transactions failed: %v", l.requests-r.succeeded, l.requests, r.failures)
	}
	return r, err
}

func (b *bench) memory(ctx context.Context) error {
	data, err := b.newData()
	if err != nil {
		return err
	}
	s, err := b.start(ctx, benchServerConfig{data: data})
	if err != nil {
		return err
	}
	r, err := b.fill(ctx, s)
	if err != nil {
		return errors.Join(err, s.kill())
	}
	memory, err := s.order(orderMemory)
	if err != nil {
		return errors.Join(err, s.kill())
	}
	row := loadRow("memory after many transactions", b.config.clients, r)
	row.Transactions, row.Memory = r.succeeded, &memory
	b.add(row)
	b.filled = data
	return s.kill()
}

func (b *bench) restart(ctx context.Context) error {
	if b.filled == "" {
		data, err := b.newData()
		if err != nil {
			return err
		}
		s, err := b.start(ctx, benchServerConfig{data: data})
		if err != nil {
			return err
		}
		if _, err := b.fill(ctx, s); err != nil {
			return errors.Join(err, s.kill())
		}
		if err := s.kill(); err != nil {
			return err
		}
		b.filled = data
	}
	for _, title := range []string{"restart after kill -9", "restart after a stop"} {
		s, err := b.start(ctx, benchServerConfig{data: b.filled})
		if err != nil {
			return err
		}
		took, err := s.firstAnswer(ctx)
		if err != nil {
			return errors.Join(err, s.kill())
		}
		memory, err := s.order(orderMemory)
		if err != nil {
			return errors.Join(err, s.kill())
		}
		b.add(benchRow{Title: title, Transactions: b.config.transactions, FirstAnswer: milliseconds(took), Memory: &memory})
		if err := s.stop(); err != nil {
			return err
		}
	}
	return nil
}

// firstAnswer reads the last asset that was created, and returns how long that took from the start of the process.
func (s *benchServer) firstAnswer(ctx context.Context) (time.Duration, error) {
	conn, err := s.dial(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	status, answer, err := conn.post(benchPath(defaultChannel, "evaluate"), readBody(nil, 0))
	if err != nil {
		return 0, err
	}
	if status != 200 {
		return 0, fmt.Errorf("the first answer is %d: %s", status, lineOf(string(answer)))
	}
	return time.Since(s.started), nil
}

// fewKeys is the size of the smaller ledger of scale.
const fewKeys = 1000

func (b *bench) scale(ctx context.Context) error {
	var first float64
	for _, keys := range []int{min(fewKeys, b.config.keys), b.config.keys} {
		data, err := b.newData()
		if err != nil {
			return err
		}
		s, err := b.start(ctx, benchServerConfig{data: data, preload: keys})
		if err != nil {
			return err
		}
		r, err := b.run(ctx, s, b.creating(keys))
		if err != nil {
			return errors.Join(err, s.kill())
		}
		memory, err := s.order(orderMemory)
		if err != nil {
			return errors.Join(err, s.kill())
		}
		row := loadRow("creates among many keys", b.config.clients, r)
		row.Keys, row.Memory, row.Preload = keys, &memory, s.startup.Seconds()
		if first == 0 {
			first = row.PerSecond
		} else {
			row.Relative = row.PerSecond / first
		}
		b.add(row)
		if err := s.stop(); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) idle(ctx context.Context) error {
	program, err := b.buildContract(ctx)
	if err != nil {
		return err
	}
	return b.with(ctx, benchServerConfig{program: program}, func(s *benchServer) error {
		if err := s.submitOnce(ctx, defaultChannel, createBody(nil, 0)); err != nil {
			return err
		}
		before, err := s.order(orderMemory)
		if err != nil {
			return err
		}
		update, end := b.counter(b.scenario)
		defer end()
		for n := range b.config.channels {
			name := fmt.Sprintf("idle%05d", n)
			if _, err := s.order(orderChannel, name); err != nil {
				return err
			}
			if err := s.submitOnce(ctx, name, createBody(nil, 0)); err != nil {
				return err
			}
			update(uint64(n+1), uint64(b.config.channels))
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		after, err := s.order(orderMemory)
		if err != nil {
			return err
		}
		grown := int64(after.Collected) - int64(before.Collected)
		b.add(benchRow{Title: "idle channels, each used once", Channels: b.config.channels, Memory: &after, Growth: &grown})
		return nil
	})
}
