package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"proviso.dev/proviso/engine"
	"proviso.dev/proviso/engine/inspect/cluster"
)

// toldCluster is the uid of a cluster, or why nobody knows it.
type toldCluster struct {
	uid string
	err error
}

// told takes what a cluster said it is, so that it is not asked again.
func (e *earlier) told(source, uid string, err error) {
	if e != nil {
		e.clusters[source] = toldCluster{uid, err}
	}
}

// sameClusters holds the clusters of the scan against those that the earlier one was of. By one name a kubeconfig may lead
// elsewhere by now, and what another cluster holds was not fixed in this one.
func (e *earlier) sameClusters(scope []string) error {
	if err := e.ask(scope); err != nil {
		return err
	}
	for _, source := range slices.Sorted(maps.Keys(e.clusters)) {
		was, looked := e.Cluster(source)
		is := e.clusters[source]
		switch {
		case !looked:
		case is.err != nil:
			e.unchecked(source, is.err)
		case was == "":
			e.unchecked(source, errors.New("the earlier scan did not know which it was"))
		case was != is.uid:
			return fmt.Errorf("%s is another cluster than it was: %s now, and %s in the scan of %s (the uid of namespace kube-system): name evidence of this cluster, or the context of that one",
				source, is.uid, was, e.At.UTC().Format(time.RFC3339))
		}
	}
	return nil
}

func (e *earlier) unchecked(source string, why error) {
	fmt.Fprintf(e.notes, "proviso: note: --since %s: whether %s is the cluster that it was could not be checked: %s\n", e.name, source, printable(why.Error()))
}

// ask asks the clusters among what is to be scanned which they are. Where the scan leaves evidence they said so already.
func (e *earlier) ask(scope []string) error {
	for _, source := range scope {
		name, named := strings.CutPrefix(source, "cluster:")
		if _, err := os.Stat(source); !named || err == nil {
			continue // it is a file, as sources are taken
		}
		live, err := cluster.Connect(name)
		if err != nil {
			return err
		}
		source = "cluster:" + live.Name
		_, known := e.clusters[source]
		if _, looked := e.Cluster(source); known || !looked {
			continue
		}
		within, cancel := context.WithTimeout(context.Background(), askWithin)
		uid, err := live.UID(within)
		cancel()
		e.told(source, uid, err)
	}
	return nil
}

// refused is the report of a scan that is held against nothing, since the earlier one was of another cluster: an input that is of
// no use, whatever else is judged.
func (e *earlier) refused(r engine.Report) engine.Report {
	fmt.Fprintf(e.notes, "proviso: --since %s: %s\n", e.name, printable(e.other.Error()))
	results, trailer := r.Results, r.Trailer
	r.Results = func(yield func(engine.Result) bool) {
		for result := range results {
			if !yield(result) {
				return
			}
		}
		yield(engine.Result{Unread: &engine.Unread{Source: "--since " + e.name, Kind: engine.Broken, Err: e.other}})
	}
	r.Trailer = func() engine.Trailer {
		t := trailer()
		t.Broken, t.Summary.Unread, t.Complete = t.Broken+1, t.Summary.Unread+1, false
		return t
	}
	return r
}
