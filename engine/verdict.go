package engine

import (
	"encoding/json"
	"fmt"
)

// Verdict is what is true of a policy and a subject.
type Verdict uint8

// The verdicts. Unknown is the zero value and never counts as Pass.
const (
	Unknown Verdict = iota
	Pass
	Fail
	NotApplicable
)

var verdicts = []string{"unknown", "pass", "fail", "notApplicable"}

func (v Verdict) String() string { return verdicts[v] }

// MarshalJSON writes the verdict's name.
func (v Verdict) MarshalJSON() ([]byte, error) { return json.Marshal(v.String()) }

// Mode is what a profile wants done about a policy's failures or unknowns.
type Mode uint8

// The modes. Deny is the zero value: what nobody chose is the strict choice.
const (
	ModeDeny Mode = iota
	ModeWarn
	ModeRecord
)

func (m Mode) String() string { return effects[m] }

// ParseMode reads deny, warn or record.
func ParseMode(text string) (Mode, bool) {
	for i, e := range effects {
		if e == text {
			return Mode(i), true
		}
	}
	return 0, false
}

// Effect is what is done.
type Effect uint8

// The effects.
const (
	EffectDeny Effect = iota
	EffectWarn
	EffectRecord
)

var effects = []string{"deny", "warn", "record"}

func (e Effect) String() string { return effects[e] }

// MarshalJSON writes the effect's name.
func (e Effect) MarshalJSON() ([]byte, error) { return json.Marshal(e.String()) }

// effect is the only place where what is true becomes what is done.
func effect(v Verdict, mode, unknown Mode, waived, standing bool) Effect {
	e := Effect(unknown)
	switch {
	case v == Pass, v == NotApplicable, waived:
		return EffectRecord
	case v == Fail:
		e = Effect(mode)
	}
	if standing {
		return max(e, EffectWarn)
	}
	return e
}

// Cause says why a verdict is unknown.
type Cause uint8

// The causes. CauseFact is the one that --allow-unknown may drop from the exit code.
const (
	NoCause    Cause = iota
	CauseField       // a required path is missing, or a declared one is mistyped
	CauseFact        // a fact could not be answered
	CauseError       // the rule failed, or answered in no shape it may answer in
	CauseLimit       // the rule ran into a limit of time, memory or cost
)

// Decision is what one policy says of one subject.
type Decision struct {
	Policy     *Policy
	Verdict    Verdict
	Effect     Effect
	Violations []Violation
	// Reason says why the verdict is unknown or notApplicable.
	Reason string
	Cause  Cause
	// Path is where the reason lies in the object, where it lies there.
	Path string
	// Waiver is the waiver that covers the subject; Waived whether it holds.
	Waiver *Waiver
	Waived bool
	// mislabelled is set where a label of the object's own is misspelt: that is denied as a failure is.
	mislabelled bool
	// Standing is set on an update where the old object had all of it already; see Policy.StrictUpdate.
	Standing bool
}

func (d Decision) String() string {
	return fmt.Sprintf("%s: %s", d.Policy.ID, d.Verdict)
}
