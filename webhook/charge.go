package webhook

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// room is what there is for the requests of one webhook: one half for those that come, one for those that came whole and are
// judged. With one for both, bodies of which each has a part already would wait for one another.
type room struct {
	reading, judging *semaphore.Weighted
	half             int64
	// beyond is for one body that comes when there is no room: those that have a part each would wait for one another.
	beyond *semaphore.Weighted

	mu    sync.Mutex
	freed chan struct{} // closed when a body that came gives back what it held
}

func newRoom(most int64) *room {
	return &room{reading: semaphore.NewWeighted(most / 2), judging: semaphore.NewWeighted(most / 2), half: most / 2, beyond: semaphore.NewWeighted(1), freed: make(chan struct{})}
}

func (r *room) changes() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.freed
}

func (r *room) changed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.freed)
	r.freed = make(chan struct{})
}

// smallest is what any request is charged with, step how much at once while its body comes: what is only announced costs
// nobody anything.
const smallest, step = 64 << 10, 256 << 10

// What a body becomes is many times its bytes where it is made of little. Its text is there four times: as it came, in the
// review, as what is decoded, in what a rule or a record takes of it. Lists, objects and what is in them are there decoded and
// again as Rego has them; these are what both take together, with maps as empty as Go makes them.
//
// What comes is there in pieces that have room to grow, and then in one.
const perByte, perObject, perList, perField, perValue, perComing = 4, 600, 150, 150, 100, 3

// stopsWithin is how long what was judged in vain still takes its room, once it was answered for.
const stopsWithin = time.Second

// charged is a body that is charged as it comes, and for what it will be, once it is there.
type charged struct {
	io.ReadCloser
	ctx          context.Context
	to           *room
	read, values int64 // bytes that came, and what they become beside themselves
	text, escape bool  // whether what comes next is within a text, and whether it is escaped there
	coming, held int64 // what it holds of either half of the room
	beyond       bool  // whether it comes beyond the room
	refused      bool
}

// errTurnedAway is a body that there was no room for.
var errTurnedAway = errors.New("too many requests are in flight")

// come charges for what comes.
func (c *charged) come(n int64) error {
	n = min(n, c.to.half-c.coming)
	for {
		freed := c.to.changes()
		switch {
		case c.beyond || n <= 0:
			return nil
		case c.to.reading.TryAcquire(n):
			c.coming += n
			return nil
		case c.to.beyond.TryAcquire(1):
			c.beyond = true
			return nil
		}
		select {
		case <-freed:
		case <-c.ctx.Done():
			c.refused = true
			return errTurnedAway
		}
	}
}

func (c *charged) charge(to *semaphore.Weighted, n int64, held *int64) error {
	n = min(n, c.to.half-*held) // one that alone is more than there is room for may be there alone
	if n <= 0 {
		return nil
	}
	if to.Acquire(c.ctx, n) != nil {
		c.refused = true
		return errTurnedAway
	}
	*held += n
	return nil
}

func (c *charged) release() {
	c.came()
	c.to.judging.Release(c.held)
	c.held = 0
}

// came gives back what the body held while it came.
func (c *charged) came() {
	c.to.reading.Release(c.coming)
	c.coming = 0
	if c.beyond {
		c.to.beyond.Release(1)
		c.beyond = false
	}
	c.to.changed()
}

func (c *charged) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.read += int64(n)
	c.count(p[:n])
	for perComing*c.read > c.coming && c.coming < c.to.half && !c.beyond {
		if bad := c.come(step); bad != nil {
			return 0, bad
		}
	}
	if err == io.EOF && c.held == 0 {
		if bad := c.charge(c.to.judging, max(smallest, perByte*c.read+c.values), &c.held); bad != nil {
			return 0, bad
		}
		c.came()
	}
	return n, err
}

// count adds what the values of a piece of JSON cost. A bracket in a text is none.
func (c *charged) count(p []byte) {
	for _, b := range p {
		switch {
		case c.escape:
			c.escape = false
		case c.text:
			c.text, c.escape = b != '"', b == '\\'
		case b == '"':
			c.text = true
		case b == '{':
			c.values += perObject
		case b == '[':
			c.values += perList
		case b == ':':
			c.values += perField
		case b == ',':
			c.values += perValue
		}
	}
}
