// Package cloud turns what a cloud's tools print about an account, and the format files of backup repositories, into
// subjects: snapshots of disks and their locks, keys and their rotation, IAM policies, and kopia and restic
// repositories. It reads files and nothing else.
//
// Start at [Files].
package cloud

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"strings"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/exported"
)

// APIVersion is that of the artifacts.
const APIVersion = "artifact.proviso.dev/v1alpha1"

// Files inspects exports, JSON or YAML. It implements [engine.Inspector]. It knows:
//
//   - AWS: EC2 DescribeSnapshots, DescribeLockedSnapshots and DescribeSnapshotAttribute (createVolumePermission), joined
//     by SnapshotId across all files; KMS DescribeKey and GetKeyRotationStatus, joined by KeyId. A document may also hold
//     several of them, each under its call's name.
//   - IAM policies: GetRolePolicy, GetUserPolicy, GetGroupPolicy, GetPolicyVersion, and a bare policy document.
//   - Google Cloud: Compute snapshots and KMS cryptoKeys, one, a list, or the page of a list.
//   - Azure: Compute snapshots, as az prints them or as the API answers.
//   - kopia.repository, and restic's config beside its keys folder.
//
// What a snapshot or key was not asked about is left out. That a snapshot has no lock is said only where there are as
// many complete exports of locks as of snapshots, because an export does not name the region it is of.
type Files struct{ Paths []string }

// Inspect yields a Snapshot, Key, AccessPolicy or RepositoryFormat for each that the files hold, in the order of the
// files, and an *[engine.Unread] for what is none or cannot be read.
func (f *Files) Inspect(ctx context.Context) iter.Seq2[*engine.Subject, error] {
	return func(yield func(*engine.Subject, error) bool) {
		g := &gathering{locks: map[string]part{}, shares: map[string]part{}, rotations: map[string]part{}}
		for file, err := range (exported.Files{Paths: f.Paths, Also: isRepository}).All(ctx) {
			switch {
			case err != nil:
				g.fail(err)
			case isRepository(file.Path):
				g.repository(file)
			default:
				g.file(file)
			}
		}
		g.leftOver()
		for _, made := range g.pending {
			sub, err := made()
			if (sub != nil || err != nil) && !yield(sub, err) {
				return
			}
		}
	}
}

// part is an object of a document.
type part struct {
	exported.Object
	document *exported.Document
}

func (p part) there() bool { return p.document != nil }

// gathering joins what the files say.
type gathering struct {
	// pending are what is yielded, in the order of the files; each is made once all files are read.
	pending                  []func() (*engine.Subject, error)
	locks, shares, rotations map[string]part
	// snapshots and lockLists count the complete exports of either.
	snapshots, lockLists int
	// used are the parts that some subject was joined with.
	used map[string]bool
}

func (g *gathering) fail(err error) {
	g.pending = append(g.pending, func() (*engine.Subject, error) { return nil, err })
}

// artifact is a subject on its way.
type artifact struct {
	kind, name string
	labels     map[string]any
	fields     map[string]any
	marks      exported.Marks
	part
}

func newArtifact(kind, provider string, p part) *artifact {
	return &artifact{kind: kind, fields: map[string]any{"provider": provider}, marks: exported.Marks{}, part: p}
}

// set gives the artifact a field that was read from a part's field.
func (a *artifact) set(field string, v any, from part, key string) {
	a.fields[field] = v
	a.marks.Set(field, from.document, from.At(key))
}

// text copies a field that is a text.
func (a *artifact) text(field string, from part, key string) {
	if v, ok := from.Text(key); ok {
		a.set(field, v, from, key)
	}
}

// add yields the artifact once all is read: join completes it from what the other files say.
func (g *gathering) add(a *artifact, join func()) {
	g.pending = append(g.pending, func() (*engine.Subject, error) {
		if join != nil {
			join()
		}
		if a.name == "" {
			a.Mistyped("", "read %s: it has no name", a.kind)
		}
		if p := a.Problems(); len(p) > 0 {
			return nil, a.document.Broken(p[0])
		}
		meta := map[string]any{"name": a.name}
		if a.labels != nil {
			meta["labels"] = a.labels
		}
		a.fields["apiVersion"], a.fields["kind"], a.fields["metadata"] = APIVersion, a.kind, meta
		return &engine.Subject{APIVersion: APIVersion, Kind: a.kind, Name: a.name, Object: a.fields, Origin: a.marks.Origin(a.document, a.At())}, nil
	})
}

func (g *gathering) file(f *exported.File) {
	for d, err := range f.Documents() {
		if err != nil {
			g.fail(err)
			continue
		}
		g.value(d, d.Value)
	}
}

var errUnknown = errors.New("it is nothing that is known here: want EC2 DescribeSnapshots, DescribeLockedSnapshots or DescribeSnapshotAttribute; " +
	"KMS DescribeKey or GetKeyRotationStatus; an IAM policy; Compute snapshots or cryptoKeys of Google Cloud; Compute snapshots of Azure; " +
	"kopia.repository or a restic config")

// calls are the names under which one document may hold several answers.
var calls = []string{"DescribeSnapshots", "DescribeLockedSnapshots", "DescribeSnapshotAttribute", "DescribeKey", "GetKeyRotationStatus",
	"GetRolePolicy", "GetUserPolicy", "GetGroupPolicy", "GetPolicyVersion"}

// value finds what is known in a value.
func (g *gathering) value(d *exported.Document, v any, path ...any) {
	if list, ok := v.([]any); ok && len(path) < 4 {
		if len(list) == 0 {
			g.fail(d.Other(path, errors.New("it is an empty list")))
		}
		for i, item := range list {
			g.value(d, item, append(slices.Clone(path), i)...)
		}
		return
	}
	m, ok := v.(map[string]any)
	if !ok {
		g.fail(d.Other(path, errUnknown))
		return
	}
	wrapped := false
	for _, call := range calls {
		if inner, there := m[call]; there {
			wrapped = true
			g.value(d, inner, append(slices.Clone(path), call)...)
		}
	}
	if !wrapped {
		g.object(part{exported.Read(m, path...), d})
	}
}

func (g *gathering) object(p part) {
	kind, _ := p.Raw("kind").(string)
	azure, _ := p.Raw("type").(string)
	name, _ := p.Raw("name").(string)
	page := func(key string) { g.value(p.document, p.Raw(key), p.At(key)...) }
	switch {
	case p.Has("Snapshots"):
		g.ec2Snapshots(p)
	case p.Has("SnapshotId") && p.Has("LockState"):
		g.join(g.locks, p, "SnapshotId")
	case p.Has("SnapshotId") && (p.Has("CreateVolumePermissions") || p.Has("ProductCodes")):
		g.join(g.shares, p, "SnapshotId")
	case p.Has("SnapshotId"):
		g.ec2Snapshot(p)
	case p.Has("KeyMetadata"):
		g.kmsKey(part{p.In("KeyMetadata"), p.document})
	case p.Has("KeyRotationEnabled"):
		g.join(g.rotations, p, "KeyId")
	case p.Has("PolicyDocument"), p.Has("PolicyVersion"), p.Has("Statement"):
		g.policy(p)
	case kind == "compute#snapshot":
		g.gceSnapshot(p)
	case kind == "compute#snapshotList":
		g.morePages(p, "nextPageToken")
		page("items")
	case p.Has("cryptoKeys"):
		g.morePages(p, "nextPageToken")
		page("cryptoKeys")
	case strings.Contains(name, "/cryptoKeys/") && !strings.Contains(name, "/cryptoKeyVersions/"):
		g.cryptoKey(p)
	case strings.EqualFold(azure, "Microsoft.Compute/snapshots"):
		g.azureSnapshot(p)
	case p.Has("value") && len(p.At()) == 0:
		g.morePages(p, "nextLink")
		page("value")
	default:
		g.fail(p.document.Other(p.At(), errUnknown))
	}
}

// morePages reports an export that is only the first of several.
func (g *gathering) morePages(p part, token string) bool {
	if v := p.Raw(token); v == nil || v == "" {
		return false
	}
	u := p.document.Other(p.At(token), errors.New("read export: it is one page of more (export the rest as well)"))
	u.Kind = engine.Hole
	g.fail(u)
	return true
}

// join keeps a part for the subject with the same id; a second part that is not the same is no answer.
func (g *gathering) join(into map[string]part, p part, key string) {
	id, ok := p.Text(key)
	if !ok {
		g.fail(p.document.Broken(exported.Problem{Path: p.At(), Err: fmt.Errorf("read export: it has no %s to join it by", key)}))
		return
	}
	id = exported.Last(id)
	if into[id].there() {
		g.fail(p.document.Broken(exported.Problem{Path: p.At(key), Err: fmt.Errorf("read export: %s is there twice (remove one)", id)}))
		return
	}
	into[id] = p
}

// take is the part for an id, empty where there is none. What is mistyped in it is reported with what is left over.
func (g *gathering) take(from map[string]part, id string) part {
	p := from[id]
	if p.there() {
		if g.used == nil {
			g.used = map[string]bool{}
		}
		g.used[id] = true
	}
	return p
}

// leftOver reports the parts that belong to nothing, once the rest is made.
func (g *gathering) leftOver() {
	for _, parts := range []map[string]part{g.locks, g.shares, g.rotations} {
		ids := make([]string, 0, len(parts))
		for id := range parts {
			ids = append(ids, id)
		}
		slices.Sort(ids)
		for _, id := range ids {
			p := parts[id]
			g.pending = append(g.pending, func() (*engine.Subject, error) {
				if problems := p.Problems(); len(problems) > 0 {
					return nil, p.document.Broken(problems[0])
				}
				if g.used[id] {
					return nil, nil
				}
				u := p.document.Other(p.At(), fmt.Errorf("read export: %s is in no export of its own (add the describe call)", id))
				u.Kind = engine.Hole
				return nil, u
			})
		}
	}
}

// base is a file's name without its extension.
func base(path string) string { return strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)) }
