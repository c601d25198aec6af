package lambda

import "time"

// AwaitQueue returns when so many executions wait.
func AwaitQueue(h *Host, n int) {
	for {
		h.mu.Lock()
		waiting := len(h.queue)
		h.mu.Unlock()
		if waiting >= n {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// SetClock sets the clock by which credentials are renewed.
func (s *Scopes) SetClock(clock func() time.Time) { s.clock = clock }
