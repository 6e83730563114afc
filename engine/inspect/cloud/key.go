package cloud

import (
	"strconv"
	"strings"

	"proviso.dev/proviso/engine/exported"
)

func (g *gathering) kmsKey(p part) {
	a := newArtifact("Key", "aws", p)
	a.name, _ = p.Text("KeyId")
	a.text("arn", p, "Arn")
	if arn, ok := p.Text("Arn"); ok {
		if parts := strings.Split(arn, ":"); len(parts) > 5 && parts[3] != "" {
			a.set("region", strings.ToLower(parts[3]), p, "Arn")
		}
	}
	a.text("state", p, "KeyState")
	a.text("manager", p, "KeyManager")
	if t, ok := p.Time("CreationDate"); ok {
		a.set("created", t, p, "CreationDate")
	}
	if on, ok := p.Bool("MultiRegion"); ok {
		a.set("multiRegion", on, p, "MultiRegion")
	}
	g.add(a, func() {
		if r := g.take(g.rotations, a.name); r.there() {
			a.kmsRotation(r)
		}
	})
}

func (a *artifact) kmsRotation(p part) {
	on, ok := p.Bool("KeyRotationEnabled")
	if !ok {
		return
	}
	rotation := map[string]any{"enabled": on}
	if days, ok := p.Int("RotationPeriodInDays"); ok {
		rotation["periodDays"] = days
	}
	if t, ok := p.Time("OnDemandRotationStartDate"); ok {
		rotation["last"] = t
	}
	if len(p.Problems()) == 0 {
		a.set("rotation", rotation, p, "KeyRotationEnabled")
	}
}

const secondsOfDay = 24 * 60 * 60

// cryptoKey reads a key of Google Cloud. Only keys that encrypt and decrypt can be rotated.
func (g *gathering) cryptoKey(p part) {
	a := newArtifact("Key", "gcp", p)
	resource, _ := p.Text("name")
	a.name = exported.Last(resource)
	a.set("arn", resource, p, "name")
	if location := exported.Between(resource, "locations"); location != "" {
		a.set("region", strings.ToLower(location), p, "name")
	}
	primary := part{p.In("primary"), p.document}
	a.text("state", primary, "state")
	if t, ok := p.Time("createTime"); ok {
		a.set("created", t, p, "createTime")
	}
	rotation := map[string]any{"enabled": p.Has("rotationPeriod")}
	if period, ok := p.Text("rotationPeriod"); ok {
		if seconds, err := strconv.ParseFloat(strings.TrimSuffix(period, "s"), 64); err == nil && strings.HasSuffix(period, "s") {
			rotation["periodDays"] = int64(seconds) / secondsOfDay
		} else {
			p.Mistyped("rotationPeriod", "read key: rotationPeriod %q is no number of seconds", period)
		}
	}
	if t, ok := primary.Time("createTime"); ok {
		rotation["last"] = t
	}
	a.set("rotation", rotation, p, "rotationPeriod")
	a.labels = p.Labels("labels")
	g.add(a, nil)
}
