package report

import (
	"errors"
	"sync"

	"proviso.dev/proviso/engine"
)

// teeBuffer is how many results may wait for one output while another is slow.
const teeBuffer = 64

// Tee gives one run to several outputs at once. Each gets a report of its own, with the same results in the same order,
// and runs in a goroutine of its own; the slowest sets the pace. An output that returns early, by an error or because
// it has seen enough, is left behind and the others go on. The run is always taken to its end, so that its trailer, which
// is returned, is whole. The errors of the outputs come back joined, in the order of the outputs.
//
// Outputs share the results, so none may alter them.
func Tee(r engine.Report, outs ...func(engine.Report) error) (engine.Trailer, error) {
	branches := make([]*branch, len(outs))
	errs := make([]error, len(outs))
	var trailer engine.Trailer
	ended := make(chan struct{})
	var wg sync.WaitGroup
	for i, out := range outs {
		b := &branch{results: make(chan engine.Result, teeBuffer), left: make(chan struct{})}
		branches[i] = b
		wg.Go(func() {
			defer b.leave()
			errs[i] = out(engine.Report{Header: r.Header, Results: b.take, Trailer: func() engine.Trailer {
				b.leave() // whoever asks for the trailer wants no more results: the run must not wait for it
				<-ended
				return trailer
			}})
		})
	}
	for result := range r.Results {
		for _, b := range branches {
			b.give(result)
		}
	}
	trailer = r.Trailer()
	close(ended)
	for _, b := range branches {
		close(b.results)
	}
	wg.Wait()
	return trailer, errors.Join(errs...)
}

// branch is one output's way to the run.
type branch struct {
	results chan engine.Result
	once    sync.Once
	left    chan struct{} // closed once the output wants no more
}

func (b *branch) leave() { b.once.Do(func() { close(b.left) }) }

func (b *branch) give(r engine.Result) {
	select {
	case <-b.left:
		return
	default:
	}
	select {
	case b.results <- r:
	case <-b.left:
	}
}

func (b *branch) take(yield func(engine.Result) bool) {
	for r := range b.results {
		if !yield(r) {
			b.leave()
			return
		}
	}
}
