// Command proviso judges Kubernetes backup and storage: where data lies, how long it is kept, that it is encrypted,
// immutable and restorable. Each verb is one file; nothing here is worth importing.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	_ "time/tzdata" // schedules name time zones, and not every machine has their data

	"github.com/spf13/cobra"
)

// The exit codes, the same for every verb and format. Where several hold, 4 wins over 1, 1 over 3, 3 over 2.
const (
	exitOK         = 0 // compliant and complete
	exitTrouble    = 1 // the tool could not do its job, or input named on the command line cannot be read
	exitIncomplete = 2 // nothing was checked, or something is unknown or was not seen
	exitViolations = 3
)

func main() {
	if os.Getenv("GOGC") == "" {
		// A run lives briefly and holds little: collecting at four times the live heap costs some tens of MiB and saves a
		// third of the time.
		debug.SetGCPercent(400)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr})
	stop()
	os.Exit(code)
}

// streams are where a command reads and writes: results to out, all else to err.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// exitCode ends a command with a code and nothing more to say.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func run(ctx context.Context, args []string, s streams) int {
	root := &cobra.Command{
		Use:   "proviso",
		Short: "Provable compliance for Kubernetes backup and disaster recovery",
		Long: `Proviso judges Kubernetes backup and storage by rules in Rego or CEL: where data may lie, how long it is kept,
that it is encrypted, that nobody can alter it, and that it restores.

Start with: proviso demo`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("there is no verb %q", args[0])
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetArgs(args)
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	root.AddCommand(lintCommand(s), scanCommand(s), policyCommand(s), demoCommand(s), versionCommand(s))
	root.AddCommand(topics()...)
	err := root.ExecuteContext(ctx)
	var code exitCode
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &code):
		return int(code)
	}
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(s.err, "proviso: %s", line)
	}
	fmt.Fprintln(s.err)
	return exitTrouble
}
