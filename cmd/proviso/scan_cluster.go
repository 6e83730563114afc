package main

import (
	"context"
	"fmt"
	"time"

	"proviso.dev/proviso/bundles"
	"proviso.dev/proviso/engine/inspect/cluster"
	"proviso.dev/proviso/evidence"
)

// askWithin is how long a cluster may take to say which it is. Its evidence says less without that, and no less is judged.
const askWithin = 10 * time.Second

// identified are the clusters of a scan by their sources: what each is for life, and what the profile says of it. Run is the one
// that everything was judged in; nil where something else is scanned, too.
func identified(ctx context.Context, s streams, p *bundles.Profile, asked *sources) (all map[string]*evidence.Cluster, run *evidence.Cluster) {
	all = clustersOf(p)
	for _, in := range asked.inspectors {
		live, ok := in.(*cluster.Source)
		if !ok {
			continue
		}
		source, where := "cluster:"+live.Name, evidence.Cluster{}
		if known := all[source]; known != nil {
			where = *known
		}
		within, cancel := context.WithTimeout(ctx, askWithin)
		uid, err := live.UID(within)
		cancel()
		asked.facts.earlier.told(source, uid, err)
		if err != nil {
			fmt.Fprintf(s.err, "proviso: warning: %s: the evidence will not say which cluster it is: %s\n", source, printable(err.Error()))
		}
		if where.UID = uid; where == (evidence.Cluster{}) {
			continue
		}
		all[source] = &where
		if len(asked.inspectors) == 1 && len(asked.paths) == 0 {
			run = &where
		}
	}
	return all, run
}
