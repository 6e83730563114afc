package velero

import (
	"context"
	"errors"
	"iter"
	"path"
	"slices"
	"strings"

	"proviso.dev/proviso/engine/store"
)

// folder is one backup's or restore's folder.
type folder struct {
	dir   string // its key, without a slash at its end; empty for the store's root
	name  string // what its files are named after
	files []store.Info
}

func (f *folder) file(name string) (store.Info, bool) {
	i := slices.IndexFunc(f.files, func(i store.Info) bool { return path.Base(i.Key) == name })
	if i < 0 {
		return store.Info{}, false
	}
	return f.files[i], true
}

// prefix is what lies before backups/ or restores/.
func (f *folder) prefix() string {
	prefix := path.Dir(path.Dir(f.dir))
	if prefix == "." || f.dir == "" {
		return ""
	}
	return prefix
}

const metadataFile = "velero-backup.json"

// folders lists the folders of backups and restores, in the order of their keys. Where backups/ or restores/ lies right
// below the prefix it is a storage location, and nothing else is listed: a location may also hold millions of files of a
// data mover, and Velero lets no other location lie within it. Else whatever is below the prefix is. An error comes with
// the folders that were listed whole before it; what is skipped is no file, and its folder is judged without it.
func (s *Source) folders(ctx context.Context, limits Limits) (backups, restores []*folder, skipped []*store.EntryError, err error) {
	prefix := strings.Trim(s.Prefix, "/")
	if prefix != "" {
		prefix += "/"
	}
	l := &listing{prefix: strings.TrimSuffix(prefix, "/"), limits: limits}
	for _, within := range []string{prefix + "backups/", prefix + "restores/"} {
		if err = l.list(s.Store.List(ctx, within)); err != nil {
			break
		}
	}
	if err == nil && !l.some {
		err = l.list(s.Store.List(ctx, prefix))
	}
	for _, f := range l.backups {
		f.rename()
	}
	return dropEmpty(l.backups), l.restores, l.skipped, err
}

// listing gathers folders from what is listed.
type listing struct {
	prefix            string
	limits            Limits
	backups, restores []*folder
	n                 int
	some              bool // anything was listed
	skipped           []*store.EntryError
}

func (l *listing) list(files iter.Seq2[store.Info, error]) error {
	var last *folder
	var lastList *[]*folder
	for info, bad := range files {
		var entry *store.EntryError
		if errors.As(bad, &entry) && len(l.skipped) < mostNames {
			l.some, l.skipped = true, append(l.skipped, entry)
			continue
		}
		if bad != nil {
			// The folder that was being listed may lack files; what lies in it is not judged as if it were whole.
			if last != nil {
				*lastList = (*lastList)[:len(*lastList)-1]
			}
			return bad
		}
		l.some = true
		dir, file := path.Split(info.Key)
		dir = strings.TrimSuffix(dir, "/")
		if last == nil || last.dir != dir {
			above := path.Base(path.Dir(dir))
			list := &l.backups
			switch {
			case file == "":
				continue
			case dir != "" && above == "restores":
				list = &l.restores
			case dir != "" && above == "backups":
			case rootFolder(info.Key, l.prefix, dir):
			default:
				continue
			}
			if l.n++; l.n > l.limits.Folders {
				return refuse("%d backups and restores in one store", l.limits.Folders)
			}
			last, lastList = &folder{dir: dir, name: path.Base(dir)}, list
			*list = append(*list, last)
		}
		if len(last.files) <= l.limits.Files {
			last.files = append(last.files, info)
		}
	}
	return nil
}

// rootFolder reports whether the store's root, or the prefix that was named, may itself be a backup's folder.
func rootFolder(key, prefix, dir string) bool {
	return dir == prefix && (strings.HasSuffix(key, ".gz") || strings.HasSuffix(key, ".json"))
}

// rename finds the backup's name where the folder has none of its own: the tarball is named after the backup.
func (f *folder) rename() {
	if path.Base(path.Dir(f.dir)) == "backups" && f.dir != "" {
		return
	}
	f.name = ""
	for _, i := range f.files {
		if name, ok := strings.CutSuffix(path.Base(i.Key), ".tar.gz"); ok {
			f.name = name
		}
	}
}

// dropEmpty leaves out a root that looked like a backup's folder and is none.
func dropEmpty(folders []*folder) []*folder {
	return slices.DeleteFunc(folders, func(f *folder) bool {
		_, there := f.file(metadataFile)
		return f.name == "" && !there
	})
}
