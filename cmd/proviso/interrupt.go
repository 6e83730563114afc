package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
)

var errInterrupted = errors.New("interrupted")

// interrupted is an error that says no more than that a signal came, where it comes of that.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return errInterrupted
	}
	return err
}

// stoppable ends at the first signal what only reads, and does not ask whether it is to go on.
func stoppable[T any](ctx context.Context, read func() (T, error)) (T, error) {
	var none T
	if ctx.Err() != nil {
		return none, errInterrupted
	}
	type outcome struct {
		value T
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		var o outcome
		o.err = guarded(func() (err error) {
			o.value, err = read()
			return err
		})
		done <- o
	}()
	select {
	case <-ctx.Done():
	case o := <-done:
		if ctx.Err() == nil {
			return o.value, o.err
		}
	}
	return none, errInterrupted
}

// stoppableVerb makes the body of a verb that writes nothing stoppable.
func stoppableVerb(body func(*cobra.Command, []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		_, err := stoppable(c.Context(), func() (any, error) { return nil, body(c, args) })
		return err
	}
}
