package webhook

import (
	"hash/maphash"
	"sync"
	"time"
)

// remembered is how long a uid is remembered at least, where there are not too many; three times that at most.
const remembered = 2 * time.Minute

// mostRemembered is how many uids one half of the memory takes. Their digests need some megabytes.
const mostRemembered = 1 << 17

var uidSeed = maphash.MakeSeed()

// recent remembers the uids of the last few minutes. Its memory is bounded, and so is that of one uid, which callers choose:
// when a half is full or old, it becomes the older one, and what that held is forgotten.
type recent struct {
	mu         sync.Mutex
	now, older map[uint64]struct{}
	since      time.Time
}

// seen remembers a uid, and reports whether it was remembered already. One that is empty never is.
func (r *recent) seen(uid string, at time.Time) bool {
	if uid == "" {
		return false
	}
	key := maphash.String(uidSeed, uid)
	r.mu.Lock()
	defer r.mu.Unlock()
	if age := at.Sub(r.since); r.now == nil || age > remembered || len(r.now) >= mostRemembered {
		if r.older = r.now; age > 2*remembered {
			r.older = nil
		}
		r.now, r.since = map[uint64]struct{}{}, at
	}
	_, young := r.now[key]
	_, old := r.older[key]
	r.now[key] = struct{}{}
	return young || old
}
