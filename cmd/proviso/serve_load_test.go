package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	admissionregistration "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"proviso.dev/proviso/bundles"
	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/webhook"
)

// writePolicy makes a folder of one policy for a kind, which the profile can name as a bundle.
func writePolicy(t *testing.T, dir, match string) {
	t.Helper()
	at := filepath.Join(dir, "governance", "made")
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{
		"policy.yaml": "title: Made\nseverity: high\nmatch: [" + match + "]\nrequires: {metadata.name: string}\ncontrols: []\nfix: Mend it.\n",
		"policy.cel":  "object.metadata.name == 'bad' ? [{'message': 'it is bad', 'path': 'metadata.name'}] : []\n",
	} {
		if err := os.WriteFile(filepath.Join(at, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// started is a loader as it is after the start with a profile, in a cluster that serves two kinds beside our own.
func started(t *testing.T, dir, profile string) *loader {
	t.Helper()
	file := filepath.Join(dir, "proviso.yaml")
	write(t, file, profile)
	metrics, err := webhook.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	l := &loader{file: file, install: webhook.Install{Name: "proviso", Namespace: "proviso-system", TimeoutSeconds: 5}, metrics: metrics, log: slog.New(slog.DiscardHandler), bell: make(chan struct{}),
		known: []webhook.Resource{{Group: "velero.io", Versions: []string{"v1"}, Kind: "Schedule", Plural: "schedules"}, {Group: "velero.io", Versions: []string{"v1"}, Kind: "Backup", Plural: "backups"}}}
	if err := l.read(t.Context()); err != nil {
		t.Fatal(err)
	}
	if l.start, err = l.planned(l.sets().Closed, l.profile); err != nil {
		t.Fatal(err)
	}
	l.plan = l.start
	own := schema.GroupVersion{Group: webhook.Group, Version: "v1alpha1"}
	mapper := meta.NewDefaultRESTMapper([]schema.GroupVersion{own})
	for _, kind := range []string{"Waiver", "Profile"} {
		mapper.Add(own.WithKind(kind), meta.RESTScopeRoot)
	}
	if l.facts, err = webhook.NewFacts(t.Context(), &rest.Config{Host: "http://127.0.0.1:1"}, mapper, asked(l.sets().Closed)); err != nil {
		t.Fatal(err)
	}
	return l
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte("apiVersion: proviso.dev/v1alpha1\nkind: Profile\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// What a reload brings is in force only if the API server asks for it.
func TestReloadNeedsWhatIsInstalled(t *testing.T) {
	type configuration = admissionregistration.ValidatingWebhookConfiguration
	const schedules, backups = "{group: velero.io, kinds: [Schedule]}", "{group: velero.io, kinds: [Backup]}"
	const apply = "proviso serve --print-config | kubectl apply -f -"
	const one, two = "bundles: [./one]\n", "bundles: [./one, ./two]\n"
	for name, tc := range map[string]struct {
		start, next, policy string // policy is that of the bundle two
		live                string // of what the configuration is: start, next, none, or not to be read
		want                []string
	}{
		"a mode, whatever is installed":              {one, one + "mode: deny\n", backups, "none", nil},
		"a new kind":                                 {one, two, backups, "start", []string{"ignore.proviso.dev: CREATE, UPDATE of velero.io/v1 backups is not watched: ", apply}},
		"a new kind that is installed":               {one, two, backups, "next", nil},
		"a new kind, and nothing is installed":       {one, two, backups, "none", []string{"there is no ValidatingWebhookConfiguration proviso", apply}},
		"a new kind, and nobody knows":               {one, two, backups, "not to be read", []string{"of the start (the one that is installed is not known: nobody answers)", "backups is not watched", apply}},
		"one kind less, and nobody knows":            {two, one, backups, "not to be read", nil},
		"a new operation":                            {one, two, "{group: velero.io, kinds: [Schedule], operations: [DELETE]}", "start", []string{"fail.proviso.dev: DELETE of velero.io/v1 schedules is not watched"}},
		"a kind is to fail closed":                   {two, two + "failurePolicy: {Backup.velero.io: Fail}\n", backups, "start", []string{"fail.proviso.dev: CREATE of velero.io/v1 backups is left to ignore.proviso.dev", apply}},
		"a kind is to fail closed, and does":         {two, two + "failurePolicy: {Backup.velero.io: Fail}\n", backups, "next", nil},
		"a kind is to fail open":                     {one, one + "failurePolicy: {Schedule.velero.io: Ignore}\n", backups, "start", nil},
		"a kind is to fail closed, and nobody knows": {two, two + "failurePolicy: {Backup.velero.io: Fail}\n", backups, "not to be read", []string{"is left to ignore.proviso.dev"}},
		"a kind of a group nobody serves":            {one, two, "{group: example.org, kinds: [Tape]}", "start", []string{"CREATE of Tape.example.org is not watched: the cluster does not serve the group", "restart"}},
		"a kind that was not watched at the start":   {two, two + "mode: deny\n", "{group: example.org, kinds: [Tape]}", "start", nil},
		"a move of a kind no policy is for":          {one, one + "failurePolicy: {Tape.example.org: Fail}\n", backups, "start", []string{"move Tape.example.org: no policy is for it"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			writePolicy(t, filepath.Join(dir, "one"), schedules)
			writePolicy(t, filepath.Join(dir, "two"), tc.policy)
			if err := os.Rename(filepath.Join(dir, "two", "governance", "made"), filepath.Join(dir, "two", "governance", "made-too")); err != nil {
				t.Fatal(err)
			}
			l := started(t, dir, tc.start)
			write(t, l.file, tc.next)
			l.live = func(context.Context) (*configuration, error) {
				switch tc.live {
				case "start":
					return l.start.configuration, nil
				case "next":
					profile, sources, err := readProfile(l.file)
					if err != nil {
						return nil, err
					}
					set, err := bundles.Load(profile, closedDefaults, sources...)
					if err != nil {
						return nil, err
					}
					next, err := l.planned(set, profile)
					return next.configuration, err
				case "none":
					return nil, nil
				}
				return nil, errors.New("nobody answers")
			}
			before := l.sets().Closed.Digest()
			err := l.read(t.Context())
			if (err != nil) != (len(tc.want) > 0) {
				t.Fatalf("error %v, want %q", err, tc.want)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want %q", err, want)
				}
			}
			if err != nil && (l.sets().Closed.Digest() != before || len(webhook.Gaps(l.wanted(), l.start.configuration)) > 0) {
				t.Error("what was refused is in force, or compared with")
			}
			// A start has nothing else to stay with.
			again := &loader{file: l.file, install: l.install, metrics: l.metrics, log: l.log, known: l.known, bell: make(chan struct{})}
			if err := again.read(t.Context()); err != nil {
				t.Errorf("at a start: %v", err)
			}
		})
	}
}

// What is in force counts, not what once was: the way back is a change too.
func TestReloadOnTheWayBack(t *testing.T) {
	dir := t.TempDir()
	writePolicy(t, filepath.Join(dir, "one"), "{group: velero.io, kinds: [Schedule]}")
	const closed, open = "bundles: [./one]\n", "bundles: [./one]\nfailurePolicy: {Schedule.velero.io: Ignore}\n"
	l := started(t, dir, closed)
	live := l.start.configuration
	l.live = func(context.Context) (*admissionregistration.ValidatingWebhookConfiguration, error) { return live, nil }
	write(t, l.file, open)
	if err := l.read(t.Context()); err != nil {
		t.Fatal(err)
	}
	live = l.wanted() // somebody installs it
	write(t, l.file, closed)
	if err := l.read(t.Context()); err == nil || !strings.Contains(err.Error(), "is left to ignore.proviso.dev") {
		t.Errorf("back to failing closed while what is installed fails open: %v", err)
	}
	live = l.start.configuration
	if err := l.read(t.Context()); err != nil {
		t.Errorf("once that is installed: %v", err)
	}
}

// The log says who vouches for a caller, and which decisions it had before; a request is never left out.
func TestLogged(t *testing.T) {
	for want, d := range map[string]webhook.Decided{
		`"id":"u-1","caller":"unauthenticated","repeated":false`: {ID: "u-1"},
		`"id":"u-2","caller":"authenticated","repeated":false`:   {ID: "u-2", Authenticated: true},
		`"id":"u-3","caller":"unauthenticated","repeated":true`:  {ID: "u-3", Repeated: true},
	} {
		for message, complete := range map[string]func(*webhook.Decided){
			"decision": func(d *webhook.Decided) {
				d.Decisions = []engine.Decision{{Policy: &engine.Policy{ID: "access/x"}, Verdict: engine.Fail}}
			},
			"refused": func(d *webhook.Decided) { d.Problems = []string{"no such policy"} },
		} {
			var log bytes.Buffer
			complete(&d)
			logged(slog.New(slog.NewJSONHandler(&log, nil)))(d)
			if !strings.Contains(log.String(), `"msg":"`+message+`"`) || strings.Count(log.String(), want) != strings.Count(log.String(), "\n") {
				t.Errorf("logged %s, want %s with %s", log.String(), message, want)
			}
		}
	}
}

// Files that were refused are tried ever less often while they stay as they are, and why is told once.
func TestRefusalsAreToldOnce(t *testing.T) {
	var r refusal
	one, other, now := [32]byte{1}, [32]byte{2}, time.Unix(0, 0)
	told, tries := 0, 0
	for second := range 600 {
		at := now.Add(time.Duration(second) * time.Second)
		if r.waits(one, at) {
			continue
		}
		if tries++; r.note(one, errors.New("no such bundle"), at, time.Second) {
			told++
		}
	}
	if told != 1 || tries < 12 || tries > 20 {
		t.Errorf("in ten minutes it was tried %d times and told %d times", tries, told)
	}
	at := now.Add(601 * time.Second)
	if r.waits(other, at) || !r.note(other, errors.New("no such policy"), at, time.Second) {
		t.Error("other files are not tried at once, or what is wrong with them is not told")
	}
	if r.waits(other, at.Add(2*time.Second)) {
		t.Error("other files wait as long as those before")
	}
}

// The authorities of --client-ca are those of the file as it is; what cannot be read takes none away.
func TestClientAuthoritiesAreReadAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	var log bytes.Buffer
	a := clientAuthorities{file: file, log: slog.New(slog.NewTextHandler(&log, nil))}
	if err := a.read(); err == nil || !strings.Contains(err.Error(), "read --client-ca") {
		t.Errorf("a file that is not there: %v", err)
	}
	write(t, file, "none")
	if err := a.read(); err == nil || !strings.Contains(err.Error(), "there is no certificate in") {
		t.Errorf("a file without a certificate: %v", err)
	}
	write(t, file, authorityPEM(t))
	if err := a.read(); err != nil {
		t.Fatal(err)
	}
	first := a.now()
	write(t, file, authorityPEM(t))
	second := a.now()
	if second.Equal(first) {
		t.Error("the file changed, and its authorities are those of before")
	}
	write(t, file, "")
	for range 3 {
		if !a.now().Equal(second) {
			t.Error("what could not be read took the authorities away")
		}
	}
	if n := strings.Count(log.String(), "those read last count"); n != 1 {
		t.Errorf("told %d times: %s", n, log.String())
	}
}

func authorityPEM(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true}, &x509.Certificate{}, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
