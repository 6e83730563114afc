package main

import (
	"context"
	"errors"
	"fmt"

	"proviso.dev/proviso/bundles"
	"proviso.dev/proviso/webhook"
)

// overlay puts the cluster's waivers and profiles into force. One that cannot be read counts for nothing, and is told; where
// they are not known, those that were stay.
func (l *loader) overlay(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	from, err := l.list()
	if err != nil {
		if l.overlaid.Load() { // at the start they are still being listed, and readiness waits for them
			l.tell("waivers and profiles are not known; those in force stay", err)
		}
		return
	}
	l.listed = from
	o, wrong := gather(l.catalogue, l.profile, from)
	l.tell("some objects count for nothing", errors.Join(wrong...))
	l.overlaid.Store(true)
	if fmt.Sprint(o) == fmt.Sprint(l.objects) {
		return
	}
	chosen := selected(l.catalogue, l.profile, o, l.with)
	sets, err := chosen.sets()
	if err == nil {
		err = l.force(ctx, chosen, sets, "the cluster's waivers and profiles are others")
	}
	if err != nil {
		l.metrics.Refused()
		l.log.Error("waivers and profiles refused; the last good policies stay in force", "error", err.Error())
		l.journal.reloaded("the cluster's waivers and profiles", err)
		return
	}
	l.objects = o
}

// tell logs what is wrong once, not at every look.
func (l *loader) tell(what string, err error) {
	if fmt.Sprint(err) != l.told && err != nil {
		l.log.Error(what, "error", err.Error())
	}
	l.told = fmt.Sprint(err)
}

// listed are the waivers and profiles of the cluster as they are written.
type listed struct{ waivers, profiles []map[string]any }

func (l *loader) list() (listed, error) {
	waivers, err := l.facts.Objects(webhook.Group, "Waiver", l.install.Namespace)
	if err != nil {
		return listed{}, err
	}
	profiles, err := l.facts.Objects(webhook.Group, "Profile", "")
	return listed{waivers, profiles}, err
}

// gather reads the waivers and profiles that are objects of the cluster, and what is wrong with them.
func gather(c *bundles.Catalogue, p *bundles.Profile, from listed) (o objects, wrong []error) {
	for _, object := range from.waivers {
		if w, err := c.WaiverOf(object); err != nil {
			wrong = append(wrong, err)
		} else {
			o.waivers = append(o.waivers, w)
		}
	}
	for _, object := range from.profiles {
		if t, err := c.TighteningOf(object, p, closedDefaults); err != nil {
			wrong = append(wrong, err)
		} else {
			o.tighter = append(o.tighter, t)
		}
	}
	return o, wrong
}
