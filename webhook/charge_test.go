package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
)

// many is n elements; each may have its number.
func many(n int, element string) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strings.ReplaceAll(element, "#", fmt.Sprintf("%x", i)))
	}
	return b.String()
}

// update is a review of an update of a thing that holds a value.
func update(value string) string {
	thing := `{"apiVersion":"v1","kind":"Thing","metadata":{"name":"a"},"x":` + value + `}`
	return `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","operation":"UPDATE","object":` + thing + `,"oldObject":` + thing + `}}`
}

func heap() int64 {
	runtime.GC()
	runtime.GC() // what the first one found finalizers for
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// becomes is how much the heap grows by a review that is decoded as it is here, and turned as Rego's judging turns it.
func becomes(t *testing.T, text string) int64 {
	t.Helper()
	before := heap()
	body, err := io.ReadAll(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(body, &review); err != nil {
		t.Fatal(err)
	}
	sub, err := subjectOf(review.Request)
	if err != nil {
		t.Fatal(err)
	}
	object, old := ast.MustInterfaceToValue(sub.Object), ast.MustInterfaceToValue(sub.Old)
	grown := heap() - before
	runtime.KeepAlive([]any{body, review, sub, object, old})
	return grown
}

// charge is what a body is charged with once it is there whole.
func charge(t *testing.T, text string) int64 {
	t.Helper()
	body := &charged{ReadCloser: io.NopCloser(strings.NewReader(text)), ctx: t.Context(), to: newRoom(1 << 40)}
	if _, err := io.Copy(io.Discard, body); err != nil {
		t.Fatal(err)
	}
	if body.coming != 0 {
		t.Errorf("%d bytes are still charged for what came", body.coming)
	}
	return body.held
}

// A body is charged with what it costs a replica: no less, and not much more, or ordinary ones would be turned away.
func TestBodiesAreChargedWithWhatTheyBecome(t *testing.T) {
	const n = 60_000
	container := `{"name":"c#","image":"registry.example/team/app:1.2.3","env":[{"name":"A","value":"b"},{"name":"C","value":"d"}],"ports":[{"containerPort":8080,"protocol":"TCP"}],"resources":{"limits":{"cpu":"1","memory":"1Gi"}}}`
	for name, value := range map[string]string{
		"numbers":          `[` + many(n, `1000`) + `]`,
		"short texts":      `[` + many(n, `"a"`) + `]`,
		"empty lists":      `[` + many(n, `[]`) + `]`,
		"lists":            `[` + many(n, `[1]`) + `]`,
		"empty objects":    `[` + many(n, `{}`) + `]`,
		"objects":          `[` + many(n, `{"a":1}`) + `]`,
		"objects of many":  `[` + many(n/9, `{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6,"g":7,"h":8,"i":9}`) + `]`,
		"keys":             `{` + many(n, `"#":1`) + `}`,
		"keys of lists":    `{` + many(n, `"#":[]`) + `}`,
		"keys of objects":  `{` + many(n, `"#":{}`) + `}`,
		"lists in lists":   `[` + many(n/60, strings.Repeat("[", 60)+strings.Repeat("]", 60)) + `]`,
		"objects in them":  `[` + many(n/60, strings.Repeat(`{"a":`, 60)+"1"+strings.Repeat("}", 60)) + `]`,
		"text":             `"` + strings.Repeat("x", 1<<20) + `"`,
		"escapes":          `"` + strings.Repeat(`\n`, 1<<19) + `"`,
		"brackets in text": `"` + strings.Repeat(`{\"a\":[1,2]},`, 1<<16) + `"`,
		"containers":       `[` + many(2000, container) + `]`,
	} {
		text := update(value)
		is, charged := becomes(t, text), charge(t, text)
		t.Logf("%-17s %4d KiB become %6d, charged with %6d", name, len(text)>>10, is>>10, charged>>10)
		if charged < is || charged > 4*is {
			t.Errorf("%s: charged with %d KiB, and takes %d", name, charged>>10, is>>10)
		}
	}
	if _, err := object([]byte(`{"a":[`+strings.Repeat("1,", maxNodes)+"1]}"), "object"); err == nil {
		t.Error("an object of more values than a replica can hold is read")
	}
}

// However the pieces fall in which a body comes, it is charged the same.
func TestBodiesAreChargedAcrossPieces(t *testing.T) {
	text := `{"a\\":"{\"[,:","b":[1,{"c":"\\"}]}`
	whole := &charged{}
	whole.count([]byte(text))
	for at := range text {
		parts := &charged{}
		parts.count([]byte(text[:at]))
		parts.count([]byte(text[at:]))
		if parts.values != whole.values {
			t.Fatalf("cut at %d: %d, and %d in one piece", at, parts.values, whole.values)
		}
	}
	if want := int64(2*perObject + perList + 3*perField + 2*perValue); whole.values != want {
		t.Errorf("values cost %d, want %d", whole.values, want)
	}
}

// Of what people write, many may be in flight at once; of what is made to be large, one.
func TestOrdinaryBodiesPassManyAtOnce(t *testing.T) {
	const most = 128 << 20
	pod := `[` + many(100, `{"name":"c#","image":"registry.example/team/app:1.2.3","env":[{"name":"A","value":"b"},{"name":"C","value":"d"}],"ports":[{"containerPort":80}]}`) + `]`
	for name, c := range map[string]struct {
		value       string
		least, most int64
	}{
		"a Pod of 20 KB":       {pod, 50, 1000},
		"a mebibyte of text":   {`"` + strings.Repeat(`{\"a\":1},`, 1<<20/10) + `"`, 6, 100},
		"the flood of reviews": {`{` + many(280_000, `"#":[]`) + `}`, 0, 1},
	} {
		if at := most / 2 / charge(t, update(c.value)); at < c.least || at > c.most {
			t.Errorf("%s: %d at once, want %d to %d", name, at, c.least, c.most)
		}
	}
}

// last is the end of a body, which comes when it is told to.
type last struct{ now chan struct{} }

func (l last) Read([]byte) (int, error) {
	<-l.now
	return 0, io.EOF
}

// Bodies of which each has its part already do not wait for one another: whatever came whole gets room before long.
func TestLargeBodiesDoNotBlockOneAnother(t *testing.T) {
	text := update(`"` + strings.Repeat("x", 1<<19) + `"`)
	to := newRoom(14 << 20) // in one, it would hold what four bodies take while they come, and no more
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	end, ended := make(chan struct{}), make(chan error, 4)
	for range cap(ended) {
		go func() {
			body := &charged{ReadCloser: io.NopCloser(io.MultiReader(strings.NewReader(text), last{end})), ctx: ctx, to: to}
			defer body.release()
			_, err := io.Copy(io.Discard, body)
			ended <- err
		}()
	}
	time.Sleep(100 * time.Millisecond) // each has what it can have
	close(end)
	for range cap(ended) {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// What waits for room is given up when its time is over, and what it held is there again.
func TestABodyThatIsTurnedAwayLeavesNothingBehind(t *testing.T) {
	to := newRoom(4 << 20)
	if !to.judging.TryAcquire(to.half) {
		t.Fatal("there is no room")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	body := &charged{ReadCloser: io.NopCloser(strings.NewReader(update(`"` + strings.Repeat("x", 1<<19) + `"`))), ctx: ctx, to: to}
	if _, err := io.Copy(io.Discard, body); err != errTurnedAway || !body.refused {
		t.Errorf("%v, want it turned away", err)
	}
	body.release()
	to.judging.Release(to.half)
	if !to.reading.TryAcquire(to.half) || !to.judging.TryAcquire(to.half) {
		t.Error("something is still held")
	}
}

// A rule that was answered for may go on for a moment, and what it holds is not there for others before.
func TestWhatIsAnsweredForStillTakesItsRoom(t *testing.T) {
	metrics, err := NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Metrics: metrics}
	if err := s.canary.prepare(); err != nil {
		t.Fatal(err)
	}
	for name, budget := range map[string]time.Duration{"in time": time.Minute, "its time over": 200 * time.Millisecond} {
		over := budget < time.Second
		to := newRoom(4 << 20)
		l := httptest.NewServer(s.guarded(budget, to, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				t.Error(err)
			}
			if over {
				<-r.Context().Done()
			}
		})))
		answer, err := http.Post(l.URL, "application/json", strings.NewReader(update("1")))
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		l.Close() // waits for the handler
		free := func() bool {
			if !to.judging.TryAcquire(to.half) {
				return false
			}
			to.judging.Release(to.half)
			return true
		}
		if free() == over {
			t.Errorf("%s: free is %v", name, free())
		}
		await(t, name, func() error {
			if !free() {
				return errTurnedAway
			}
			return nil
		})
	}
}

// Room that is given back is there for whoever waits, however slow the body is that goes beyond it.
func TestOneSlowBodyKeepsNoRoomFromOthers(t *testing.T) {
	to := newRoom(4 << 20)
	if !to.reading.TryAcquire(to.half) || !to.beyond.TryAcquire(1) {
		t.Fatal("there is no room")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		body := &charged{ReadCloser: io.NopCloser(strings.NewReader(update(`"x"`))), ctx: ctx, to: to}
		defer body.release()
		_, err := io.Copy(io.Discard, body)
		ended <- err
	}()
	time.Sleep(10 * time.Millisecond)
	(&charged{to: to, coming: to.half}).came()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
