package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// No verb takes a flag that is given and empty as one that is not given, nor the last of two values where it wants one, nor
// will any that comes later.
func TestFlagsAreNotEmpty(t *testing.T) {
	root := rootCommand(nil, streams{})
	checked := 0
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if c != root && (c.PersistentPreRun != nil || c.PersistentPreRunE != nil) {
			t.Errorf("%s has a PersistentPreRun of its own, which is called in place of noneEmpty", c.CommandPath())
		}
		for _, f := range visited(c.Flags().VisitAll) {
			if kind := f.Value.Type(); kind != "string" && kind != "stringArray" {
				continue
			}
			if err := noneEmpty(c, nil); err != nil {
				t.Errorf("%s without flags: %v", c.CommandPath(), err)
			}
			one, ofOneValue := f.Value.(*once)
			was := f.Value.String()
			if err := c.Flags().Set(f.Name, ""); err != nil {
				t.Fatal(err)
			}
			if err := noneEmpty(c, nil); err == nil || !strings.HasPrefix(err.Error(), "--"+f.Name+" is empty") {
				t.Errorf("%s --%s '': %v", c.CommandPath(), f.Name, err)
			}
			checked++
			if err := c.Flags().Set(f.Name, "x"); (err != nil) != ofOneValue {
				t.Errorf("%s --%s, given twice: %v", c.CommandPath(), f.Name, err)
			}
			if f.Value.Type() == "stringArray" {
				f.Value.(interface{ Replace([]string) error }).Replace(nil)
			} else if err := one.flagValue.Set(was + "x"); err != nil {
				t.Fatal(err)
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
	if checked < 40 {
		t.Errorf("only %d flags were looked at", checked)
	}
	for text, want := range map[string]bool{"": false, "a,b": false, "a,": true} {
		c := serveCommand(streams{})
		if err := c.Flags().Set(veleroUser, text); err != nil {
			t.Fatal(err)
		}
		if err := noneEmpty(c, nil); (err != nil) != want {
			t.Errorf("--%s %q: %v", veleroUser, text, err)
		}
	}
}
