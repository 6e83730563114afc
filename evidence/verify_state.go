package evidence

import (
	"encoding/base64"
	"encoding/json"
	"io/fs"
	"maps"
	"slices"
)

const treeStateFile = LogDir + "/.state/treeState"

// stateFiles are what Tessera keeps beside the log, and what they always hold; treeState holds what the tiles do.
var stateFiles = map[string]string{LogDir + "/.state/version": "1", LogDir + "/.state/treeState.lock": "", LogDir + "/.state/publish.lock": "", treeStateFile: ""}

// treeState is what Tessera has integrated: a record is in it after it is durable, and before a head covers it.
type treeState struct {
	Size uint64 `json:"size"`
	Root []byte `json:"root"`
}

// openState reads a state as Tessera writes it, and nothing else.
func openState(raw []byte) (s treeState, ok bool) {
	if json.Unmarshal(raw, &s) != nil {
		return s, false
	}
	again, err := json.Marshal(s)
	return s, err == nil && string(again) == string(raw)
}

// stateWanted has the log's root kept at the size of Tessera's state.
func (v *verification) stateWanted() {
	if info := v.files[treeStateFile]; v.exported != nil || info == nil || info.Size() > maxCheckpoint {
		return // checkState tells it
	}
	if raw, err := fs.ReadFile(v.fsys, treeStateFile); err == nil {
		if s, ok := openState(raw); ok {
			v.roots[s.Size] = ""
		}
	}
}

// checkState holds Tessera's state against the log.
func (v *verification) checkState() {
	if v.exported != nil {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(stateFiles)) {
		raw, ok := v.read(name, maxCheckpoint)
		switch {
		case !ok:
		case name == treeStateFile:
			v.checkTreeState(raw)
		case string(raw) != stateFiles[name]:
			v.problem(FileAltered, name, "it holds %.20q, and Tessera writes %q", raw, stateFiles[name])
		}
	}
}

func (v *verification) checkTreeState(raw []byte) {
	s, ok := openState(raw)
	switch root := v.roots[s.Size]; {
	case !ok:
		v.problem(FileAltered, treeStateFile, "it is not as Tessera writes it")
	case s.Size < v.Head.Size:
		v.problem(LogAltered, treeStateFile, "it speaks of %d records, and the head of the log, which is signed after it is written, of %d", s.Size, v.Head.Size)
	case root == "":
		v.problem(RecordMissing, treeStateFile, "it speaks of %d records, and there are %d", s.Size, v.Records)
	case root != base64.StdEncoding.EncodeToString(s.Root):
		v.problem(LogAltered, treeStateFile, "the records give another root at %d", s.Size)
	}
}
