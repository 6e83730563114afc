package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"proviso.dev/proviso/bundles"
	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/evidence"
	"proviso.dev/proviso/evidence/producer"
)

// evidenceOf is what a profile says of evidence; nil is nothing.
func evidenceOf(p *bundles.Profile) *bundles.EvidenceSetting {
	if p == nil {
		return nil
	}
	return p.Evidence
}

// keeps holds the flags about evidence against the profile. What becomes of requests without a record is nowhere settled
// by leaving it out, and evidence that the profile asks for is not left out by a flag that somebody forgot.
func (v *serving) keeps(p *bundles.Profile) error {
	e := evidenceOf(p)
	switch {
	case v.evidence == "" && e != nil:
		return p.Problem("evidence", fmt.Sprintf("the profile asks for evidence (mode %s), and none is kept: name a folder with --evidence, or take it out", e.Mode))
	case v.evidence == "" && v.key != "":
		return errors.New("--key: it signs evidence, and none is kept: name a folder with --evidence")
	case v.evidence == "" && (v.copy != "" || v.keep != ""):
		return errors.New("--copy copies evidence, and none is kept: name a folder with --evidence")
	case v.evidence == "":
		return nil
	case isURL(v.evidence):
		return errNoFolder(v.evidence)
	case v.key == "":
		return errors.New("--evidence: nothing to sign it with: name a key with --key (cosign generate-key-pair makes one)")
	case (v.copy == "") != (v.keep == ""):
		return errors.New("--copy and --keep go together: where what is sealed is copied to (s3://BUCKET/PREFIX), and for how long it is locked there (6y)")
	case e == nil:
		return errors.New("--evidence: the profile does not say what becomes of a request of which no record can be kept, and there is no default: add evidence: {mode: strict}, or blocking, or batch")
	}
	if wait, _, _ := e.Limits(); e.Mode == producer.Blocking && wait >= v.budget() {
		return p.Problem("evidence.wait", fmt.Sprintf("%v is not within the time for an answer, %v (--timeout less half a second)", wait, v.budget()))
	}
	return nil
}

// openJournal opens the folder of evidence and starts a run in it.
func (v *serving) openJournal(ctx context.Context, s streams, p *bundles.Profile, objects dynamic.Interface, registry *prometheus.Registry, log *slog.Logger) (*journal, error) {
	e := evidenceOf(p)
	if e == nil {
		return nil, nil
	}
	key, err := openKey(ctx, s, v.key)
	if err != nil {
		return nil, err
	}
	var to *copyTo
	if v.copy != "" {
		if to, err = newCopy(ctx, v.copy, v.keep, ""); err != nil {
			return nil, err
		}
	}
	where, err := v.cluster(ctx, p, objects)
	if err != nil {
		return nil, err
	}
	j := &journal{dir: v.evidence, to: to, sealed: time.Now(), key: key, mode: e.Mode, log: log, order: semaphore.NewWeighted(everyOrder), configurations: map[string]engine.Digest{}}
	wait, heartbeat, maxBytes := e.Limits()
	j.w, err = producer.Open(ctx, v.evidence, producer.Options{Signer: key, Kind: "admission", Mode: e.Mode, Wait: wait, Heartbeat: heartbeat, MaxBytes: maxBytes,
		Scope: []string{"webhook " + v.name}, Run: rand.Text(), Cluster: where, Engine: evidence.Engine{Version: versionText(), Program: programDigest()},
		Counts:    func() evidence.Counts { return evidence.Counts{Requests: j.asked.Load(), DryRuns: j.tried.Load()} },
		OnTrouble: func(err error) { log.Error("evidence", "error", err.Error()) }})
	if err != nil {
		return nil, err
	}
	if err := j.measured(registry); err != nil {
		return nil, errors.Join(err, j.close(failed(err)))
	}
	log.Info("evidence is kept", "folder", v.evidence, "mode", e.Mode, "log", j.w.Origin(), "signer", j.w.Key().Fingerprint())
	return j, nil
}

// cluster says which cluster asks: what it is for life, and what the profile says of it.
func (v *serving) cluster(ctx context.Context, p *bundles.Profile, objects dynamic.Interface) (*evidence.Cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	system, err := objects.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}).Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("find out which cluster this is: get namespace %s: %w (apply what serve --print-config --evidence prints: it gives that right)", metav1.NamespaceSystem, err)
	}
	where := &evidence.Cluster{}
	if known := clustersOf(p)["cluster:"+v.context]; known != nil {
		*where = *known
	}
	where.UID = string(system.GetUID())
	return where, nil
}

// measured shows at each scrape what the writer knows of itself.
func (j *journal) measured(registry *prometheus.Registry) error {
	stat := func(name, help string, value func(producer.Stats) float64) prometheus.Collector {
		opts := prometheus.GaugeOpts{Name: "proviso_evidence_" + name, Help: help}
		return prometheus.NewGaugeFunc(opts, func() float64 { return value(j.w.Stats()) })
	}
	total := func(name, help string, value func(producer.Stats) float64) prometheus.Collector {
		opts := prometheus.CounterOpts{Name: "proviso_evidence_" + name, Help: help}
		return prometheus.NewCounterFunc(opts, func() float64 { return value(j.w.Stats()) })
	}
	all := []prometheus.Collector{
		stat("records", "Records in the folder, those of earlier runs among them.", func(s producer.Stats) float64 { return float64(s.Records) }),
		stat("pending", "Records that are not durable yet.", func(s producer.Stats) float64 { return float64(s.Pending) }),
		stat("unsigned_age_seconds", "How long the oldest record has waited for a signed checkpoint.", func(s producer.Stats) float64 { return s.UnsignedAge.Seconds() }),
		stat("bytes", "Size of the folder.", func(s producer.Stats) float64 { return float64(s.Bytes) }),
		total("lost_total", "Requests of this run that were answered without a record; a signed gap says so, too.", func(s producer.Stats) float64 { return float64(s.Lost) }),
		stat("trouble", "Whether something cannot be written or signed at present.", func(s producer.Stats) float64 {
			if s.Trouble != nil {
				return 1
			}
			return 0
		}),
	}
	if j.to != nil {
		all = append(all, stat("copied_timestamp_seconds", "When what is sealed was copied to the bucket last, in Unix time; 0 is not yet.", func(producer.Stats) float64 { return float64(j.copied.Load()) }),
			stat("copy_refused", "Whether the bucket holds another history of this log than the folder: it was rolled back, or is not the only one.", func(producer.Stats) float64 {
				if j.copyRefused.Load() {
					return 1
				}
				return 0
			}))
	}
	for _, c := range all {
		if err := registry.Register(c); err != nil {
			return err
		}
	}
	return nil
}
