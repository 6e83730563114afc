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

	"proviso.dev/proviso/engine/inspect/etcd"
)

// The exit codes, the same for every verb and format. Where several hold, 4 wins over 1, 1 over 3, 3 over 2.
const (
	exitOK         = 0 // compliant and complete
	exitTrouble    = 1 // the tool could not do its job, or input named on the command line cannot be read
	exitIncomplete = 2 // nothing was checked, or something is unknown or was not seen
	exitViolations = 3
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == etcd.Verb {
		os.Exit(etcd.Child(os.Args[2:], os.Stdin, os.Stdout))
	}
	if os.Getenv("GOGC") == "" {
		// Most runs live briefly and hold little: collecting at four times the live heap costs some tens of MiB and saves
		// a third of the time.
		debug.SetGCPercent(400)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the first signal ends what is done in order, a second one kills
	os.Exit(run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr}))
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
	err := interrupted(ctx, guarded(func() error { return rootCommand(args, s).ExecuteContext(ctx) }))
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

// guarded makes an error of a panic, which would end the program with 2: the word for what is incomplete.
func guarded(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("this is an error of the program, and says nothing of what it read: %v\n%s", p, debug.Stack())
		}
	}()
	return do()
}

func rootCommand(args []string, s streams) *cobra.Command {
	root := &cobra.Command{
		Use:   "proviso",
		Short: "Provable compliance for Kubernetes backup and disaster recovery",
		Long: `Proviso judges Kubernetes backup and storage by rules in Rego or CEL: where data may lie, how long it is kept,
that it is encrypted, that nobody can alter it, and that it restores.

Start with: proviso demo`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		Args:              cobra.ArbitraryArgs,
		PersistentPreRunE: noneEmpty,
		RunE:              noVerb,
		Version:           versionText(),
	}
	root.SetVersionTemplate("proviso {{.Version}}\n")
	root.SetArgs(args)
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	root.AddCommand(lintCommand(s), scanCommand(s), serveCommand(s), policyCommand(s), bundleCommand(s), evidenceCommand(s), demoCommand(s), versionCommand(s))
	root.AddCommand(topics()...)
	root.SetHelpCommand(helpCommand(root))
	root.InitDefaultCompletionCmd(args...)
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.RunE = noVerb
			c.Args = cobra.ArbitraryArgs
		}
	}
	// To complete a line cobra parses it twice.
	if len(args) == 0 || args[0] != cobra.ShellCompRequestCmd && args[0] != cobra.ShellCompNoDescRequestCmd {
		eachOnce(root)
	}
	return root
}

// noVerb is what a command does that only holds others: help where nothing is asked, an error where something is that it
// has not.
func noVerb(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return c.Help()
	}
	c.SuggestionsMinimumDistance = 2
	hint := ""
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		hint = fmt.Sprintf(" (did you mean %s?)", near[0])
	}
	return fmt.Errorf("there is no verb %q%s", strings.TrimPrefix(c.CommandPath()+" ", "proviso ")+args[0], hint)
}

// helpCommand shows the page of a verb or topic.
func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [VERB | TOPIC]",
		Short: "Help about a verb or a topic",
		RunE: func(_ *cobra.Command, args []string) error {
			c, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				var names []string
				for _, sub := range root.Commands() {
					names = append(names, sub.Name())
				}
				return fmt.Errorf("there is no help on %q: want one of %s", strings.Join(args, " "), strings.Join(names, ", "))
			}
			return c.Help()
		},
	}
}

func someArgs(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return errors.New("nothing to judge: name a file or folder, or - for standard input")
	}
	return nil
}

func oneArg(want string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("got %d arguments, want one: %s", len(args), want)
		}
		return nil
	}
}
