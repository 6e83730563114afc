package report

import (
	"fmt"
	"strings"

	"proviso.dev/proviso/engine"
)

// unreadKinds names the kinds of Unread, with how many of each a report keeps until its end. The rest are counted.
var unreadKinds = [...]struct {
	name string
	keep int
}{
	engine.Broken:      {"broken", 1000},
	engine.Hole:        {"hole", 1000},
	engine.NotManifest: {"notManifest", 100},
}

// unreads collects what was not read, for formats that tell it last.
type unreads struct {
	kept  []*engine.Unread
	seen  [len(unreadKinds)]int
	count [len(unreadKinds)]int // of kept
}

func (u *unreads) add(x *engine.Unread) {
	u.seen[x.Kind]++
	if u.count[x.Kind] < unreadKinds[x.Kind].keep {
		u.count[x.Kind]++
		u.kept = append(u.kept, x)
	}
}

// omitted is how many of a kind were not kept.
func (u *unreads) omitted(k engine.UnreadKind) int { return u.seen[k] - u.count[k] }

// export reports whether something that is no manifest was named as what a provider's command prints: then that it is not
// understood is news.
func export(u *engine.Unread) bool {
	return u.Kind == engine.NotManifest && (strings.HasPrefix(u.Source, "bucket:") || strings.HasPrefix(u.Source, "cloud:"))
}

// unreadText says what was not read, and where: in the source, where no file is known.
func unreadText(u *engine.Unread) string {
	text := fmt.Sprint(u.Err)
	if u.File == "" && u.Source == "" {
		return text
	}
	return where(u.Position, u.Source) + ": " + text
}
