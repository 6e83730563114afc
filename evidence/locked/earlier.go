package locked

import (
	"errors"
	"fmt"
	"io"
	"path"

	"proviso.dev/proviso/evidence"
)

// earlier are the objects in the bucket that no longer are what the newest seal covers, and that an earlier one lists: without
// them nobody can check that one. What was erased since is not among them: its lock ends when it was to end.
func (c *copying) earlier() ([]evidence.File, error) {
	now, lists := map[string]bool{}, map[string]*evidence.File{}
	for i := range c.files {
		f := &c.files[i]
		now[keyOf(f)] = true
		lists[f.Path] = f
	}
	left := map[string]bool{}
	for key, o := range c.there.objects {
		if _, named := sumOf(key); named && len(o.versions) > 0 && !now[key] {
			left[key] = true
		}
	}
	var all []evidence.File
	for n := c.number - 1; n > 0 && len(left) > 0; n-- {
		list := lists[evidence.SealDir(n)+"/"+evidence.SealFiles]
		if list == nil {
			continue
		}
		covered, err := c.listed(list)
		if err != nil {
			return nil, err
		}
		for i := range covered {
			f := &covered[i]
			if !left[keyOf(f)] {
				continue
			}
			delete(left, keyOf(f))
			erased, err := c.erased(f)
			if err != nil {
				return nil, err
			}
			if !erased {
				all = append(all, *f)
			}
		}
	}
	return all, nil
}

// listed are the files in the list of a seal.
func (s *sealed) listed(list *evidence.File) ([]evidence.File, error) {
	body, closer, err := s.find(list)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(body)
	if err = errors.Join(err, closer.Close()); err != nil {
		return nil, fmt.Errorf("read %s: %w", list.Path, err)
	}
	covered, err := parseList(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", list.Path, err)
	}
	return covered, nil
}

// erased reports whether a file of inputs held what the folder does not hold any more: as long as nothing is erased they only grow.
func (s *sealed) erased(f *evidence.File) (bool, error) {
	if path.Dir(f.Path) != path.Dir(evidence.InputsFile(0)) {
		return false, nil
	}
	_, closer, err := s.find(f)
	if _, gone := errors.AsType[*Refused](err); gone {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return false, closer.Close()
}
