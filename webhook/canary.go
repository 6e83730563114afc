package webhook

import (
	"bytes"
	"context"
	"crypto/subtle"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"proviso.dev/proviso/engine"
)

// CanaryName is the name of the Profile that must always be denied.
const CanaryName = "proviso-canary"

// canaryKind is a kind that only the canary has, and canarySet the one policy that is for it: it denies.
const canaryKind = "Canary"

func isCanary(sub *engine.Subject) bool { return sub.Group() == Group && sub.Kind == canaryKind }

var canarySet = sync.OnceValue(func() *engine.Set {
	set, err := engine.NewSet([]engine.Policy{{ID: "governance/canary", Title: "The canary is denied", Severity: engine.Low,
		Match: engine.Match{{Group: Group, Kinds: []string{canaryKind}, Operations: []string{engine.Create}}}, Rule: denyAlways{}}})
	if err != nil {
		panic(err)
	}
	return set
})

type denyAlways struct{}

func (denyAlways) Eval(context.Context, engine.Input) ([]engine.Violation, error) {
	return []engine.Violation{{Message: "this is the canary", Path: "metadata.name"}}, nil
}

// canary is an object that must be denied, sent through our own TLS port.
type canary struct {
	token string
	mu    sync.Mutex
	err   error
	at    time.Time
}

const canaryHeader = "Proviso-Canary"

func (c *canary) prepare() (err error) {
	c.token, err = token()
	c.set(errors.New("the canary was not tried yet"))
	return err
}

func (c *canary) is(r *http.Request) bool {
	return subtle.ConstantTimeCompare([]byte(r.Header.Get(canaryHeader)), []byte(c.token)) == 1
}

func (c *canary) set(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err, c.at = err, time.Now()
}

// trouble is why the last try was no denial, or that it is too long ago.
func (c *canary) trouble() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return fmt.Errorf("the canary: %w", c.err)
	}
	if age := time.Since(c.at); age > 10*canaryEvery {
		return fmt.Errorf("the canary was last denied %v ago", age.Round(time.Second))
	}
	return nil
}

// try sends the canary to the fail-closed handler, as the API server would.
func (s *Server) try(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*canaryEvery/2)
	defer cancel()
	var path string
	for p, h := range s.Handlers {
		if h.Side == FailClosed {
			path = p
		}
	}
	raw := fmt.Sprintf(`{"apiVersion":"proviso.dev/v1alpha1","kind":%q,"metadata":{"name":%q}}`, canaryKind, CanaryName)
	dry := true
	review := admissionv1.AdmissionReview{TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"}, Request: &admissionv1.AdmissionRequest{
		UID: "canary", Operation: admissionv1.Create, DryRun: &dry, Name: CanaryName, Kind: metav1.GroupVersionKind{Group: Group, Version: "v1alpha1", Kind: canaryKind}, Object: runtime.RawExtension{Raw: []byte(raw)}}}
	body, err := json.Marshal(review)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+s.address()+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set(canaryHeader, s.canary.token)
	config := &tls.Config{ServerName: s.ServerName, MinVersion: tls.VersionTLS12}
	if config.RootCAs = s.Roots(); config.RootCAs == nil {
		config.InsecureSkipVerify = true // whom the API server trusts is not known here; the dates were checked
	}
	transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return err
	}
	var back admissionv1.AdmissionReview
	if err := json.Unmarshal(text, &back); err != nil || back.Response == nil {
		return fmt.Errorf("the answer is no AdmissionReview: %s", answer.Status)
	}
	if back.Response.Allowed {
		return errors.New("it was allowed")
	}
	return nil
}

// Profiles is the resource of Profile objects.
var Profiles = schema.GroupVersionResource{Group: Group, Version: "v1alpha1", Resource: "profiles"}

// TryAPIServer asks the API server, without effect, for a Profile that must be denied: whether it calls us at all. What it
// answers is nil where the canary was denied.
func TryAPIServer(ctx context.Context, profiles dynamic.ResourceInterface) error {
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": Group + "/v1alpha1", "kind": "Profile", "metadata": map[string]any{"name": CanaryName}, "spec": map[string]any{"mode": "deny"}}}
	_, err := profiles.Create(ctx, o, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	switch {
	case err == nil:
		return errors.New("the API server took it: its webhook configuration does not lead to us")
	case strings.Contains(err.Error(), canaryWords):
		return nil
	}
	return err
}

// canaryWords are how the canary's denial is known.
const canaryWords = "this name is the canary's"

// DenyCanary says what is wrong with a Profile of the canary's name; empty for any other.
func DenyCanary(sub engine.Subject) string {
	if sub.Kind == "Profile" && sub.Name == CanaryName {
		return canaryWords + ", which must be denied"
	}
	return ""
}
