package main

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"proviso.dev/proviso/evidence"
	"proviso.dev/proviso/evidence/cosign"
)

//go:embed all:samples
var samples embed.FS

// demoStep is one command of the demo. DIR stands for the folder of the samples.
type demoStep struct {
	say  string
	args string
	want int
	// before makes what the step needs.
	before func(dir string) error
}

var demoSteps = []demoStep{
	{"Manifests as a team wrote them: what is wrong, where, and how it is mended.", "lint DIR/before", exitViolations, nil},
	{"The same manifests, mended.", "lint DIR/after", exitOK, nil},
	{"A document that cannot be read never counts as clean, and never hides the others.", "lint DIR/broken.yaml", exitTrouble, nil},
	{"What cannot be told is unknown, not a pass: these files do not say where the namespace's data may live.", "lint DIR/alone.yaml", exitIncomplete, nil},
	{"The same with a snapshot of the namespaces to answer from.", "lint DIR/alone.yaml --facts DIR/namespaces.json", exitOK, nil},
	{"A waiver holds until it ends: here it does.", "scan DIR/waived.yaml --profile DIR/proviso.yaml --now 2027-01-31T12:00:00Z", exitOK, nil},
	{"The day after, the finding is back.", "scan DIR/waived.yaml --profile DIR/proviso.yaml --now 2027-02-01T12:00:00Z", exitViolations, nil},
	{"A backup that Velero made and calls Completed: what is not in it, and what would have to be restored first.", "scan velero:DIR/velero --now 2026-11-22T12:00:00Z", exitViolations, nil},
	{"The same, leaving evidence: the list of all that is there is signed before any of it is judged.", "scan velero:DIR/velero --now 2026-11-22T12:00:00Z --evidence DIR/evidence --key DIR/key/cosign.key -o json=DIR/report.json", exitViolations, demoKey},
	{"Anybody with the public key checks it, offline.", "evidence verify DIR/evidence --trust DIR/key/cosign.pub", exitOK, nil},
	{"Judged again by the recorded policies, every verdict comes out the same.", "evidence replay DIR/evidence", exitOK, nil},
	{"One verdict altered in a copy, from fail to pass.", "evidence verify DIR/altered --trust DIR/key/cosign.pub", exitUnverified, demoAlter},
}

// demoKey makes a key for the demo alone, and takes away what an earlier demo recorded.
func demoKey(dir string) error {
	for _, name := range []string{"key", "evidence", "altered"} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	_, err := cosign.Generate(filepath.Join(dir, "key"))
	return err
}

// demoAlter copies the evidence and turns a failure in it into a pass.
func demoAlter(dir string) error {
	altered := filepath.Join(dir, "altered")
	if err := os.CopyFS(altered, os.DirFS(filepath.Join(dir, "evidence"))); err != nil {
		return err
	}
	records := filepath.Join(altered, filepath.FromSlash(evidence.RecordsFile(0)))
	text, err := os.ReadFile(records)
	if err != nil {
		return err
	}
	return os.WriteFile(records, bytes.Replace(text, []byte(`"verdict":"fail"`), []byte(`"verdict":"pass"`), 1), 0o600)
}

// demoMark is the file that says a folder is the demo's own, and may be written again.
const demoMark = ".proviso-demo"

func demoCommand(s streams) *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "demo",
		Short: "Run the main job on built-in samples: no cluster, no network",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := writeSamples(dir); err != nil {
				return err
			}
			return runDemo(c.Context(), s, dir)
		},
	}
	c.Flags().StringVar(&dir, "dir", "proviso-demo", "folder to write the samples to")
	return c
}

func runDemo(ctx context.Context, s streams, dir string) error {
	fmt.Fprintf(s.out, "Samples are in %s; delete it any time.\n", dir)
	// The samples are judged by what is built in, whatever profile lies where the demo is run.
	none := ""
	if _, err := os.Stat("proviso.yaml"); err == nil {
		none = " --profile none"
	}
	wrong := 0
	for i, step := range demoSteps {
		if runtime.GOOS == "windows" && strings.Contains(step.args, "evidence") {
			continue // it is written on Linux and macOS
		}
		if step.before != nil {
			if err := step.before(dir); err != nil {
				return fmt.Errorf("prepare step %d: %w", i+1, err)
			}
		}
		judges := !strings.HasPrefix(step.args, "evidence ")
		if judges && !strings.Contains(step.args, "--profile") {
			step.args += none
		}
		command := strings.ReplaceAll(step.args, "DIR", filepath.ToSlash(dir))
		fmt.Fprintf(s.out, "\n%d. %s\n\n$ proviso %s\n", i+1, step.say, command)
		var args []string
		for _, field := range strings.Fields(step.args) { // split before the folder's name, which may hold spaces, is put in
			args = append(args, strings.ReplaceAll(field, "DIR", dir))
		}
		if judges {
			args = append(args, "--quiet")
		}
		code := run(ctx, args, streams{strings.NewReader(""), s.out, s.out})
		if code == step.want {
			fmt.Fprintf(s.out, "exit code %d\n", code)
			continue
		}
		wrong++
		fmt.Fprintf(s.out, "exit code %d, and it should be %d\n", code, step.want)
	}
	fmt.Fprintf(s.out, `
Next:
  proviso lint PATH                          judge your own manifests
  helm template ./chart | proviso lint -     or what a chart renders
  proviso policy list                        see what is judged
  proviso policy explain RES-01              and why
  proviso help profile                       say what your organisation wants
  proviso help evidence                      leave records that anybody can check
`)
	if wrong > 0 {
		return fmt.Errorf("%d of %d steps did not end as they should", wrong, len(demoSteps))
	}
	return nil
}

// writeSamples writes the samples into dir, which must be new or the demo's own.
func writeSamples(dir string) error {
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		if _, err := os.Stat(filepath.Join(dir, demoMark)); err != nil {
			return fmt.Errorf("write samples: %s is there and not the demo's: name another folder with --dir", dir)
		}
	}
	return fs.WalkDir(samples, "samples", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(dir, filepath.FromSlash(strings.TrimPrefix(strings.TrimPrefix(file, "samples"), "/")))
		if d.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		data, err := samples.ReadFile(file)
		if err != nil {
			return err
		}
		return os.WriteFile(target, data, 0o644)
	})
}
