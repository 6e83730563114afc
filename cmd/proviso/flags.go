package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
)

// noneEmpty refuses a flag that was given and is empty: by --trust "$TRUST" nobody means to trust no one where TRUST is not
// set. --velero-user may be: it is a list, and then nobody is on it.
func noneEmpty(c *cobra.Command, _ []string) error {
	for _, f := range visited(c.Flags().Visit) {
		empty := f.Value.Type() == "string" && f.Value.String() == ""
		if list, ok := f.Value.(interface{ GetSlice() []string }); ok {
			empty = slices.Contains(list.GetSlice(), "")
		}
		if empty {
			return fmt.Errorf("--%s is empty: name what it is to be, or leave it out", f.Name)
		}
	}
	return nil
}

// visited are what a function visits.
func visited[T any](visit func(func(T))) (all []T) {
	visit(func(one T) { all = append(all, one) })
	return all
}

// once is a flag of one value: of two the last would win, and nobody would be told.
type once struct {
	flagValue
	given bool
}

type flagValue interface {
	String() string
	Set(string) error
	Type() string
}

// Set is part of pflag.Value.
func (o *once) Set(text string) error {
	if o.given {
		return errors.New("it is given twice: give it once")
	}
	o.given = true
	return o.flagValue.Set(text)
}

// eachOnce refuses flags of one value that are given twice, of a command and those below it.
func eachOnce(c *cobra.Command) {
	for _, f := range visited(c.Flags().VisitAll) {
		if slices.Contains([]string{"string", "int", "duration"}, f.Value.Type()) {
			f.Value = &once{flagValue: f.Value}
		}
	}
	for _, sub := range c.Commands() {
		eachOnce(sub)
	}
}
