package report

import (
	"cmp"
	"crypto/sha1" // version 5 of a UUID is made of it
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// The types below are those of OSCAL's assessment-results, as far as we write them. No list is written empty: OSCAL wants one
// element at least wherever there is a list.

type oscalMetadata struct {
	Title        string    `json:"title"`
	LastModified time.Time `json:"last-modified"`
	Version      string    `json:"version"`
	OSCALVersion string    `json:"oscal-version"`
}

// oscalProp has no namespace where its name is OSCAL's own.
type oscalProp struct {
	Name      string `json:"name"`
	Namespace string `json:"ns,omitempty"`
	Value     string `json:"value"`
}

type oscalResource struct {
	UUID        uuid   `json:"uuid"`
	Title       string `json:"title"`
	Description string `json:"description"`
}

type oscalImport struct {
	Href    string `json:"href"`
	Remarks string `json:"remarks"`
}

type oscalBackMatter struct {
	Resources []oscalResource `json:"resources"`
}

type oscalObjective struct {
	ControlID string      `json:"control-id"`
	Props     []oscalProp `json:"props,omitempty"`
	Parts     []oscalPart `json:"parts"`
}

type oscalPart struct {
	ID        string `json:"id"`
	Namespace string `json:"ns"`
	Name      string `json:"name"`
	Prose     string `json:"prose"`
}

type oscalActivity struct {
	UUID        uuid           `json:"uuid"`
	Title       string         `json:"title"`
	Description string         `json:"description"`
	Props       []oscalProp    `json:"props,omitempty"`
	Controls    *oscalReviewed `json:"related-controls,omitempty"`
}

type oscalReviewed struct {
	Description string           `json:"description,omitempty"`
	Controls    []oscalSelection `json:"control-selections"`
	Objectives  []oscalSelection `json:"control-objective-selections,omitempty"`
}

// oscalSelection is of controls or of objectives.
type oscalSelection struct {
	Props      []oscalProp        `json:"props,omitempty"`
	Controls   []oscalControlID   `json:"include-controls,omitempty"`
	Objectives []oscalObjectiveID `json:"include-objectives,omitempty"`
}

type oscalControlID struct {
	ID string `json:"control-id"`
}

type oscalObjectiveID struct {
	ID string `json:"objective-id"`
}

type oscalObservation struct {
	UUID        uuid            `json:"uuid"`
	Title       string          `json:"title"`
	Description string          `json:"description"`
	Props       []oscalProp     `json:"props,omitempty"`
	Methods     []string        `json:"methods"`
	Types       []string        `json:"types"`
	Origins     []oscalOrigin   `json:"origins"`
	Subjects    []oscalSubject  `json:"subjects,omitempty"`
	Evidence    []oscalEvidence `json:"relevant-evidence,omitempty"`
	Collected   time.Time       `json:"collected"`
}

type oscalOrigin struct {
	Actors []oscalActor `json:"actors"`
}

type oscalActor struct {
	Type string `json:"type"`
	UUID uuid   `json:"actor-uuid"`
}

type oscalSubject struct {
	UUID uuid   `json:"subject-uuid"`
	Type string `json:"type"`
}

type oscalEvidence struct {
	Href        string      `json:"href,omitempty"`
	Description string      `json:"description"`
	Props       []oscalProp `json:"props,omitempty"`
}

type oscalComponent struct {
	UUID        uuid        `json:"uuid"`
	Type        string      `json:"type"`
	Title       string      `json:"title"`
	Description string      `json:"description"`
	Props       []oscalProp `json:"props,omitempty"`
	Status      oscalState  `json:"status"`
}

type oscalState struct {
	State string `json:"state"`
}

type oscalItem struct {
	UUID        uuid        `json:"uuid"`
	Description string      `json:"description"`
	Props       []oscalProp `json:"props,omitempty"`
}

type oscalAssets struct {
	Components []oscalComponent `json:"components"`
	Platforms  []oscalPlatform  `json:"assessment-platforms"`
}

type oscalPlatform struct {
	UUID  uuid        `json:"uuid"`
	Title string      `json:"title"`
	Uses  []oscalUses `json:"uses-components"`
}

type oscalUses struct {
	UUID uuid `json:"component-uuid"`
}

type oscalRisk struct {
	UUID         uuid           `json:"uuid"`
	Title        string         `json:"title"`
	Description  string         `json:"description"`
	Statement    string         `json:"statement"`
	Props        []oscalProp    `json:"props,omitempty"`
	Status       string         `json:"status"`
	Origins      []oscalOrigin  `json:"origins"`
	Observations []oscalRelated `json:"related-observations"`
}

type oscalRelated struct {
	UUID uuid `json:"observation-uuid"`
}

type oscalRelatedRisk struct {
	UUID uuid `json:"risk-uuid"`
}

type oscalFinding struct {
	UUID         uuid               `json:"uuid"`
	Title        string             `json:"title"`
	Description  string             `json:"description"`
	Props        []oscalProp        `json:"props,omitempty"`
	Target       oscalTarget        `json:"target"`
	Observations []oscalRelated     `json:"related-observations"`
	Risks        []oscalRelatedRisk `json:"related-risks,omitempty"`
}

type oscalTarget struct {
	Type   string      `json:"type"`
	ID     string      `json:"target-id"`
	Title  string      `json:"title"`
	Props  []oscalProp `json:"props,omitempty"`
	Status oscalStatus `json:"status"`
}

type oscalStatus struct {
	State   string `json:"state"`
	Reason  string `json:"reason"`
	Remarks string `json:"remarks"`
}

// oscalSpace is the namespace of the names of our properties, and of our identifiers.
const oscalSpace = "https://proviso.dev/ns/oscal"

// props are properties of ours, names and values in turn. One without a value is left out, for OSCAL has no empty ones.
func props(pairs ...any) []oscalProp {
	var list []oscalProp
	for i := 0; i < len(pairs); i += 2 {
		if value := folded(fmt.Sprint(pairs[i+1])); value != "" {
			list = append(list, oscalProp{pairs[i].(string), oscalSpace, value})
		}
	}
	return list
}

// folded is text as a value of OSCAL, which has no line ends, and no space at its ends.
func folded(text string) string { return strings.TrimSpace(safe(text)) }

var markdown = func() *strings.Replacer {
	var pairs []string
	for _, c := range "\\`*_{}[]<>#|&~^$" {
		pairs = append(pairs, string(c), `\`+string(c))
	}
	return strings.NewReplacer(pairs...)
}()

// markup is a stranger's text within a line of Markdown, which shows it and obeys nothing in it. It is not fit to begin a block.
func markup(text string) string { return markdown.Replace(cmp.Or(folded(text), "-")) }

// token is text as a name of OSCAL's. Two texts never become the same name.
func token(text string) string {
	var b strings.Builder
	for i, c := range []byte(text) {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if i == 0 && !letter {
			b.WriteString("_.")
		}
		if letter || '0' <= c && c <= '9' || c == '-' || c == '.' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "_%02x", c)
		}
	}
	return cmp.Or(b.String(), "_.")
}

// uuid is of version 5 (RFC 9562).
type uuid [16]byte

var uuidSpace = newUUID([]byte{0x6b, 0xa7, 0xb8, 0x11, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8}, oscalSpace) // within that of URLs

func newUUID(space []byte, name string) (id uuid) {
	sum := sha1.Sum(slices.Concat(space, []byte(name)))
	copy(id[:], sum[:])
	id[6], id[8] = id[6]&0x0f|0x50, id[8]&0x3f|0x80
	return id
}

// MarshalText writes the usual form.
func (u uuid) MarshalText() ([]byte, error) {
	var text [36]byte
	at := 0
	for i, b := range u {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			text[at] = '-'
			at++
		}
		hex.Encode(text[at:], []byte{b})
		at += 2
	}
	return text[:], nil
}

// reference is where a record lies: its file, and its digest as the fragment.
func (e *Entry) reference() string {
	if e.File == "" {
		return ""
	}
	return (&url.URL{Path: e.File, Fragment: string(e.Digest)}).String()
}
