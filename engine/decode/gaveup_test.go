package decode

import (
	"errors"
	"testing"
)

// A parser that panics, whatever with, leaves an error and no document that looks empty.
func TestAParserThatGivesUpIsAnError(t *testing.T) {
	text := Text{File: "a.json", Line: 3, Column: 1}
	own := &Error{File: "a.json", Err: errors.New("x")}
	if text.gaveUp(nil, "JSON") != nil || text.gaveUp(own, "JSON") != own {
		t.Error("no panic, or one of our own, is taken for another")
	}
	if got := text.gaveUp("index out of range", "JSON"); got == nil || got.Error() != "a.json:3:1: read JSON: the parser gave up: index out of range" {
		t.Errorf("got %v", got)
	}
}
