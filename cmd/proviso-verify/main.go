// Command proviso-verify checks evidence that Proviso wrote: a folder, or an auditor bundle. It is made to be read: it has
// the standard library, golang.org/x/mod and package evidence, knows no policy language and no cluster, and asks no network.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"proviso.dev/proviso/evidence"
)

const usage = `proviso-verify [--trust FILE] [--against FILE]... [--json] FOLDER | BUNDLE.tar

Checks that nothing in a folder of evidence, or in an auditor bundle, was altered, left out, added or put in another order
since it was signed. Asks no network.

  --trust FILE     whom you believe: a public key in PEM, or JSON {"keys": [{"name", "publicKey", "notBefore", "notAfter", "origins"}]};
                   without it the key in the folder is used, and who signed is not established
  --against FILE   a checkpoint of the log that you kept; may be repeated
  --json           write what was found as JSON
  --version        print the version, and what it was built with

Of an auditor bundle it says, too, who exported it and what that left out. What was left out as the bundle says is no fault,
and is exit code 2.

Exit codes: 0 verified, 1 it could not be read, 2 verified and something is declared to be missing, 4 it does not verify.
`

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, out, complaints io.Writer) (code int) {
	// A panic would end the program with 2, which is the word for evidence that verifies as far as it goes.
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintf(complaints, "proviso-verify: this is an error of the program, and says nothing of the evidence: %v\n%s", p, debug.Stack())
			code = 1
		}
	}()
	fail := func(err error) int {
		fmt.Fprintf(complaints, "proviso-verify: %v\n", err)
		return 1
	}
	var o evidence.Options
	asJSON, version, place := false, false, ""
	flags := flag.NewFlagSet("proviso-verify", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Func("trust", "", func(file string) (err error) {
		o.Trust, err = evidence.ReadTrust(file)
		return err
	})
	flags.Func("against", "", func(file string) error {
		raw, err := evidence.ReadCheckpoint(file)
		o.Against = append(o.Against, raw)
		return err
	})
	flags.BoolVar(&asJSON, "json", false, "")
	flags.BoolVar(&version, "version", false, "")
	switch places, err := parse(flags, args); {
	case err == flag.ErrHelp:
		fmt.Fprint(out, usage)
		return 0
	case err != nil:
		return fail(fmt.Errorf("%w (proviso-verify --help)", err))
	case version:
		is := "unknown"
		if info, ok := debug.ReadBuildInfo(); ok {
			is = info.Main.Version
		}
		fmt.Fprintf(out, "proviso-verify %s %s %s/%s\n", is, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return 0
	case len(places) != 1:
		return fail(fmt.Errorf("got %d arguments, want one: a folder of evidence or an auditor bundle (proviso-verify --help)", len(places)))
	default:
		place = places[0]
	}
	o.Now = time.Now()
	v, err := verify(place, o)
	if err != nil {
		return fail(err)
	}
	if asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		err = e.Encode(v)
	} else {
		err = v.Text(out)
	}
	if err != nil {
		return fail(err)
	}
	return v.ExitCode()
}

// verify checks what is in a place.
func verify(place string, o evidence.Options) (*evidence.Verified, error) {
	fsys, closer, err := evidence.OpenPath(place)
	if altered, was := errors.AsType[*evidence.BundleAltered](err); was {
		return altered.Verified(), nil
	}
	if err != nil {
		return nil, err
	}
	defer closer.Close()
	return evidence.Verify(fsys, o)
}

// parse takes flags before arguments and after them, up to a "--", and returns the arguments.
func parse(flags *flag.FlagSet, args []string) (rest []string, err error) {
	for {
		if err := flags.Parse(args); err != nil {
			return nil, err
		}
		left := flags.Args()
		if ended := len(args) - len(left); len(left) == 0 || ended > 0 && args[ended-1] == "--" {
			return append(rest, left...), nil
		}
		rest, args = append(rest, left[0]), left[1:]
	}
}
