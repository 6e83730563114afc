package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"net/url"
	"strconv"
	"strings"

	kjson "k8s.io/apimachinery/pkg/util/json"
)

const (
	pageLimit = 500
	// shrink is by how much a page that is too large is made smaller.
	shrink = 8
	// maxEmpty is how many pages without an object, and maxExpired how many ended tokens, may follow one another.
	maxEmpty, maxExpired = 1000, 5
	// maxObjects is more than any API server can hold of one kind.
	maxObjects = 20_000_000
)

// page is one page of a list. The names of the fields are those of the wire.
type page struct {
	Kind     string `json:"kind"`
	Metadata struct {
		Continue  string `json:"continue"`
		Remaining *int64 `json:"remainingItemCount"`
	} `json:"metadata"`
	Items items `json:"items"`
}

// items knows whether there was a list, empty or not.
type items struct {
	there bool
	list  []json.RawMessage
}

func (i *items) UnmarshalJSON(b []byte) error {
	i.there = true
	return json.Unmarshal(b, &i.list)
}

// parse takes a body that is a whole page and nothing else.
func (p *page) parse(body []byte) error {
	*p = page{}
	switch err := kjson.Unmarshal(body, p); {
	case err != nil:
		return fmt.Errorf("the answer cannot be parsed: %w", err)
	case !strings.HasSuffix(p.Kind, "List") || !p.Items.there:
		return errors.New("the answer is no list")
	}
	return nil
}

// list yields the objects of a collection as JSON, and ends with the error that keeps it from being whole.
func (s *Source) list(ctx context.Context, r resource, path, selector string) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		var seen guard
		token, limit, over, objects := "", pageLimit, 0, 0
		for {
			query := url.Values{"limit": {strconv.Itoa(limit)}}
			if token != "" {
				query.Set("continue", token)
			}
			if selector != "" {
				query.Set("labelSelector", selector)
			}
			var p page
			err := s.get(ctx, path, query, "application/json", p.parse)
			var gone expired
			switch {
			case errors.Is(err, errTooLarge) && limit > 1:
				limit = max(1, limit/shrink)
				continue
			case errors.As(err, &gone) && gone.next != "" && over < maxExpired:
				over++
				token = gone.next
				continue
			case err == nil:
				over = 0
				err = seen.page(&p)
			}
			if err != nil {
				yield(nil, r.listing(err, objects))
				return
			}
			for _, item := range p.Items.list {
				if !yield(item, nil) {
					return
				}
			}
			if objects += len(p.Items.list); objects > maxObjects {
				yield(nil, r.listing(fmt.Errorf("the server goes on after %d objects", objects), objects))
				return
			}
			if token = p.Metadata.Continue; token == "" {
				return
			}
		}
	}
}

// guard sees that a listing gets on. It keeps two numbers for each page.
type guard struct {
	seed  maphash.Seed
	met   map[uint64]bool
	empty int
}

func (g *guard) page(p *page) error {
	if g.met == nil {
		g.seed, g.met = maphash.MakeSeed(), map[uint64]bool{}
	}
	next := p.Metadata.Continue
	if next == "" && p.Metadata.Remaining != nil && *p.Metadata.Remaining > 0 {
		return fmt.Errorf("the server says that %d more follow, and not how to get them", *p.Metadata.Remaining)
	}
	if len(p.Items.list) == 0 {
		if g.empty++; g.empty > maxEmpty {
			return fmt.Errorf("the server sent %d pages without an object, and no end", g.empty)
		}
	} else {
		g.empty = 0
		if g.before([]byte{'o'}, bytes.TrimSpace(p.Items.list[0])) {
			return errors.New("the server sends the same objects again")
		}
	}
	if next != "" && g.before([]byte{'t'}, []byte(next)) {
		return errors.New("the server sends the same continue token again")
	}
	return nil
}

// before reports whether what was met before, and remembers it.
func (g *guard) before(kind, what []byte) bool {
	hash := maphash.Bytes(g.seed, append(kind, what...))
	was := g.met[hash]
	g.met[hash] = true
	return was
}
