package engine

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"time"
)

// errYield is the cause of a rule's context when it is to run again later, with a slot of the slow lane.
var errYield = errors.New("yield")

// slowLane has the slots for rules that run past a tick: half of the processors, so that rules that run long, or for ever,
// leave the other half to what is quick. The processors are the process's, and so is the lane.
var slowLane = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))

// suspicion is how long a rule that ran into its limit is suspect: once may be the machine's fault.
const suspicion = 10 * time.Second

// forgetting is how long overruns count: rare ones are the machine's fault, or an object's.
const forgetting = time.Hour

// quarantine is how long a rule is not asked once it ran into its limit too often. Then it is tried again, and one more overrun
// is enough: what made it slow may have been one object, or the machine.
const quarantine = 10 * time.Minute

// pace is how a policy's rule has been running: it is suspect while it runs long somewhere, and for a while after it ran into
// its limit.
type pace struct {
	// overruns counts how often the rule ran into a limit that only the watchdog enforces, last is when it did.
	overruns atomic.Int32
	last     atomic.Pointer[time.Time]
	// slow counts the runs that hold a slot of the slow lane.
	slow atomic.Int32
}

// quarantined is whether the rule is not asked for now.
func (p *pace) quarantined() bool {
	last := p.last.Load()
	return p.overruns.Load() >= maxOverruns && last != nil && time.Since(*last) < quarantine
}

func (p *pace) suspect() bool {
	if p.quarantined() {
		return false
	}
	last := p.last.Load()
	return p.slow.Load() > 0 || last != nil && time.Since(*last) < suspicion
}

func (p *pace) overran() {
	now := time.Now()
	if last := p.last.Swap(&now); last != nil && now.Sub(*last) > forgetting {
		p.overruns.Store(0)
	}
	p.overruns.Add(1)
}

// enter waits for a slot of the slow lane and reports whether it has one; the context's end gives none.
func (p *pace) enter(ctx context.Context) bool {
	select {
	case slowLane <- struct{}{}:
		p.slow.Add(1)
		return true
	case <-ctx.Done():
		return false
	}
}

// tryEnter is enter without waiting.
func (p *pace) tryEnter() bool {
	select {
	case slowLane <- struct{}{}:
		p.slow.Add(1)
		return true
	default:
		return false
	}
}

func (p *pace) leave() {
	p.slow.Add(-1)
	<-slowLane
}
