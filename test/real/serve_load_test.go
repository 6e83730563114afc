//go:build unix

package real

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
)

// call is one request of a load: what was sent, and what came of it.
type call struct {
	begin, end time.Time
	bad        bool // it must be denied
	denied     bool // by a policy
	err        error
}

// load sends requests at their times, whether those before have ended or not, until it is stopped.
type load struct {
	quit chan struct{}
	done chan struct{}

	mu    sync.Mutex
	calls []call
}

// under starts a load: every other request is a bad one.
func under(t testing.TB, rate int, ask func(i int, bad bool) (denied bool, err error)) *load {
	l := &load{quit: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(l.done)
		var wg sync.WaitGroup
		defer wg.Wait()
		tick := time.NewTicker(time.Second / time.Duration(rate))
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-l.quit:
				return
			case <-tick.C:
			}
			wg.Go(func() {
				c := call{begin: time.Now(), bad: i%2 == 1}
				c.denied, c.err = ask(i, c.bad)
				c.end = time.Now()
				l.mu.Lock()
				defer l.mu.Unlock()
				l.calls = append(l.calls, c)
			})
		}
	}()
	t.Cleanup(l.stop)
	return l
}

// stop ends the load once what was sent is answered.
func (l *load) stop() {
	select {
	case <-l.quit:
	default:
		close(l.quit)
	}
	<-l.done
}

// since are the calls that began at a time or after it.
func (l *load) since(at time.Time) []call {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []call
	for _, c := range l.calls {
		if !c.begin.Before(at) {
			all = append(all, c)
		}
	}
	return all
}

// check ends the load and demands that no answer was wrong, and that no call failed but those that are excused.
func (l *load) check(t testing.TB, excused func(call) bool) {
	t.Helper()
	l.stop()
	var right, excuses, slowest = 0, 0, time.Duration(0)
	causes := map[string]int{}
	for _, c := range l.calls {
		slowest = max(slowest, c.end.Sub(c.begin))
		switch {
		case c.err != nil && excused != nil && excused(c):
			excuses++
		case c.err != nil:
			causes[cause(c.err)]++
		case c.bad && !c.denied:
			t.Errorf("a wrong allow at %s", c.begin.Format(time.StampMilli))
		case !c.bad && c.denied:
			t.Errorf("a wrong denial at %s", c.begin.Format(time.StampMilli))
		default:
			right++
		}
	}
	t.Logf("%d calls: %d answered rightly, %d failed in flight, %d failed; the slowest took %v", len(l.calls), right, excuses, len(l.calls)-right-excuses, slowest.Round(time.Millisecond))
	for _, why := range slices.Sorted(maps.Keys(causes)) {
		t.Errorf("%d calls failed: %s", causes[why], why)
	}
	if right < 50 {
		t.Errorf("%d right answers: too few to show anything", right)
	}
}

// cause is an error without what differs from call to call.
func cause(err error) string {
	text := err.Error()
	if _, rest, ok := strings.Cut(text, "failed calling webhook"); ok {
		text = "the API server could not call: " + rest
	}
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r >= '0' && r <= '9' }), "#")
}

// through asks by dry-run creations of a location, which the API server asks the webhook about.
func (g *guarded) through(t testing.TB) func(i int, bad bool) (bool, error) {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", g.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	locations := client.Resource(schema.GroupVersionResource{Group: "velero.io", Version: "v1", Resource: "backupstoragelocations"}).Namespace("velero")
	return func(i int, bad bool) (bool, error) {
		var o unstructured.Unstructured
		if err := json.Unmarshal([]byte(someLocation(i, bad)), &o.Object); err != nil {
			return false, err
		}
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_, err := locations.Create(ctx, &o, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err != nil && strings.Contains(err.Error(), "proviso.dev\" denied the request: CRITICAL residency/location-region-allowed") {
			return true, nil
		}
		return false, err
	}
}

func someLocation(i int, bad bool) string {
	if bad {
		return bsl(fmt.Sprintf("made-%d", i), "us-east-1", "")
	}
	return bsl(fmt.Sprintf("made-%d", i), "eu-central-1", "")
}

// caller sends AdmissionReviews to the port of a replica, as the API server does.
type caller struct {
	url    string
	client *http.Client
}

// direct is a caller that trusts what is published for this configuration.
func (g *guarded) direct(t testing.TB, name, port string) *caller {
	t.Helper()
	config := &tls.Config{RootCAs: g.published(t, name), MinVersion: tls.VersionTLS12}
	return &caller{"https://127.0.0.1:" + port, &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: config, MaxIdleConnsPerHost: 50}}}
}

// published are the authorities that the API server trusts this webhook's certificate by.
func (g *guarded) published(t testing.TB, name string) *x509.CertPool {
	t.Helper()
	text := g.kubectl(t, "", "get", "validatingwebhookconfiguration", name, "-o", "jsonpath={.webhooks[0].clientConfig.caBundle}")
	pem, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatalf("configuration %s has no CA bundle", name)
	}
	return pool
}

// review sends the creation of an object.
func (c *caller) review(uid, object string) (*admissionv1.AdmissionResponse, error) {
	var o unstructured.Unstructured
	if err := json.Unmarshal([]byte(object), &o.Object); err != nil {
		return nil, err
	}
	gvk := o.GroupVersionKind()
	body, err := json.Marshal(admissionv1.AdmissionReview{TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"}, Request: &admissionv1.AdmissionRequest{
		UID: types.UID(uid), UserInfo: authenticationv1.UserInfo{Username: "ann"}, Operation: admissionv1.Create, Name: o.GetName(), Namespace: o.GetNamespace(), Kind: metav1.GroupVersionKind(gvk), Object: runtime.RawExtension{Raw: []byte(object)}}})
	if err != nil {
		return nil, err
	}
	answer, err := c.client.Post(c.url+"/fail", "application/json", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	var back admissionv1.AdmissionReview
	if err := json.Unmarshal(text, &back); err != nil || back.Response == nil {
		return nil, fmt.Errorf("%s: %s", answer.Status, text)
	}
	if string(back.Response.UID) != uid {
		return nil, fmt.Errorf("the answer is for %q, the question was %q", back.Response.UID, uid)
	}
	return back.Response, nil
}

// locations asks about locations, without an API server.
func (c *caller) locations(i int, bad bool) (bool, error) {
	answer, err := c.review(fmt.Sprint("uid-", i), someLocation(i, bad))
	return err == nil && !answer.Allowed, err
}

// says is whether an object would be let in, and what was said.
func (c *caller) says(t testing.TB, object string) (allowed bool, words string) {
	t.Helper()
	answer, err := c.review("uid", object)
	if err != nil {
		t.Fatal(err)
	}
	if answer.Result != nil {
		words = answer.Result.Message
	}
	return answer.Allowed, strings.Join(append([]string{words}, answer.Warnings...), "\n")
}

// balancer gives each connection to the next replica that is ready, as a Service does.
type balancer struct {
	net.Listener
	// lag is how late it hears what is ready; a replica that takes no connection is passed over only where there is none.
	lag      time.Duration
	mu       sync.Mutex
	replicas map[string]*replica // by port
	ready    []string            // ports
	next     int
}

func balance(t testing.TB, lag time.Duration) *balancer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{Listener: l, lag: lag, replicas: map[string]*replica{}}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); l.Close() })
	go b.watch(ctx)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go b.carry(ctx, conn)
		}
	}()
	return b
}

func (b *balancer) port() string {
	_, port, _ := net.SplitHostPort(b.Addr().String())
	return port
}

// put has a replica in place of the one that was on its port.
func (b *balancer) put(r *replica) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.replicas[r.port] = r
}

func (b *balancer) watch(ctx context.Context) {
	tick := time.NewTicker(max(b.lag, 50*time.Millisecond))
	defer tick.Stop()
	for {
		b.mu.Lock()
		all := maps.Clone(b.replicas)
		b.mu.Unlock()
		var ready []string
		for port, r := range all {
			asking, cancel := context.WithTimeout(ctx, time.Second)
			if r.readyz(asking) == nil {
				ready = append(ready, port)
			}
			cancel()
		}
		b.mu.Lock()
		b.ready = ready
		b.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// carry connects to the next ready replica that takes the connection, and carries bytes until either end closes.
func (b *balancer) carry(ctx context.Context, in net.Conn) {
	defer in.Close()
	var out net.Conn
	err := await(ctx, 3*time.Second, func(context.Context) error {
		b.mu.Lock()
		ready := slices.Clone(b.ready)
		b.next++
		first := b.next
		b.mu.Unlock()
		err := errors.New("no replica is ready")
		for i := range ready {
			if out, err = net.Dial("tcp", "127.0.0.1:"+ready[(first+i)%len(ready)]); err == nil {
				return nil
			}
			if b.lag > 0 {
				return nil
			}
		}
		return err
	})
	if err != nil || out == nil {
		return
	}
	defer out.Close()
	ended := make(chan struct{}, 2)
	for _, ends := range [][2]net.Conn{{in, out}, {out, in}} {
		go func() {
			_, _ = io.Copy(ends[0], ends[1])
			ended <- struct{}{}
		}()
	}
	<-ended
}
