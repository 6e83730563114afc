//go:build unix

package real

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// between stands between replicas and the API server, and can fail there.
type between struct {
	*httptest.Server
	*guarded // as a replica behind it sees the cluster
	fault    atomic.Pointer[fault]
}

// fault is what becomes of some requests, until it is over: an answer of this status, or none, and no byte of those before.
type fault struct {
	about  func(*http.Request) bool
	status int
	over   chan struct{}
}

func stand(t testing.TB, g *guarded) *between {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", g.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		t.Fatal(err)
	}
	behind, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	b := &between{}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(behind) }, Transport: transport, FlushInterval: -1, ModifyResponse: func(r *http.Response) error {
		r.Body = &stalling{r.Body, b, r.Request}
		return nil
	}}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f := b.fault.Load(); f != nil && f.about(r) {
			if f.status != 0 {
				w.Header().Set("Retry-After", "1")
				http.Error(w, "a fault", f.status)
				return
			}
			f.wait(r.Context())
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		b.heal()
		b.CloseClientConnections()
		b.Close()
	})
	file := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: envtest\nclusters: [{name: envtest, cluster: {server: %q}}]\nusers: [{name: nobody, user: {}}]\ncontexts: [{name: envtest, context: {cluster: envtest, user: nobody}}]\n", b.URL)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	b.guarded = &guarded{cluster: &cluster{kubeconfig: file, kubectlBin: g.kubectlBin}, profile: g.profile, account: file}
	return b
}

// strike begins a fault; a status ends the connections there are.
func (b *between) strike(status int, about func(*http.Request) bool) {
	b.fault.Store(&fault{about: about, status: status, over: make(chan struct{})})
	if status != 0 {
		b.CloseClientConnections()
	}
}

func (b *between) heal() {
	if f := b.fault.Swap(nil); f != nil {
		close(f.over)
	}
}

func (f *fault) wait(ctx context.Context) {
	select {
	case <-f.over:
	case <-ctx.Done():
	}
}

type stalling struct {
	io.ReadCloser
	between *between
	request *http.Request
}

func (s *stalling) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if f := s.between.fault.Load(); f != nil && f.status == 0 && f.about(s.request) {
		f.wait(s.request.Context())
	}
	return n, err
}

func everything(*http.Request) bool { return true }

// launch starts a replica and does not wait until it is ready.
func (g *guarded) launch(t testing.TB, name, port string, flags ...string) *replica {
	t.Helper()
	probes, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	bin, err := built()
	if err != nil {
		t.Fatal(err)
	}
	s, err := start(name, []string{"KUBECONFIG=" + g.kubeconfig}, bin, append([]string{"serve", "--profile", g.profile, "--host", "127.0.0.1", "--port", port, "--probes", probes, "--name", name}, flags...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.kill)
	return &replica{server: s, port: port, probes: probes}
}

func (s *server) kill() {
	_ = s.process.Signal(syscall.SIGKILL) // it may have ended
	<-s.done
}

// single is one replica of its own name that the API server calls; its facts live for five seconds.
func (g *guarded) single(t testing.TB, name string, from *guarded) (*replica, *caller) {
	t.Helper()
	at := port(t)
	g.own(t, name, at)
	r := from.serve(t, name, at, "--name", name, "--max-age", "5s")
	t.Cleanup(r.kill)
	return r, g.direct(t, name, at)
}

// silent demands that a replica says within the age of its facts that the API server is silent, and that it then judges by
// no fact any more: the same schedule that it let in is unknown.
func silent(t testing.TB, r *replica, c *caller) {
	t.Helper()
	until(t, 10*time.Second, "the replica to say that its facts are old", func(ctx context.Context) error {
		if err := r.readyz(ctx); err == nil || !strings.Contains(err.Error(), "has been silent for") {
			return fmt.Errorf("readyz: %w", err)
		}
		return nil
	})
	// Another kind may have been the first.
	until(t, 5*time.Second, "a schedule that facts decide about to be unknown", func(context.Context) error {
		if allowed, words := c.says(t, schedule("daily", "home")); allowed || !strings.Contains(words, "has been silent for") {
			return fmt.Errorf("allowed is %v: %s", allowed, words)
		}
		return nil
	})
}

// whole demands that a replica is ready and judges by facts: which schedules it lets in, by their location. After several
// outages in a row client-go waits up to a minute before it lists a kind again.
func whole(t testing.TB, r *replica, c *caller, schedules map[string]bool) {
	t.Helper()
	until(t, 2*time.Minute, "the replica to be ready and to judge schedules", func(ctx context.Context) error {
		if err := r.readyz(ctx); err != nil {
			return err
		}
		for location, want := range schedules {
			if allowed, words := c.says(t, schedule("daily", location)); allowed != want || strings.Contains(words, "unknown") {
				return fmt.Errorf("into %s: allowed is %v: %s", location, allowed, words)
			}
		}
		return nil
	})
}

// Nothing happens in the cluster, and facts stay fresh all the same, whatever age they may have.
func TestRealServeQuietClusterStaysFresh(t *testing.T) {
	g := faulted(t)
	r, _ := g.single(t, "quiet", g)
	asked := 0
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) { // four times as long as facts live
		asked++
		if err := r.readyz(t.Context()); err != nil {
			t.Fatalf("after %d times ready: %v", asked, err)
		}
	}
	t.Logf("ready %d times of %d", asked, asked)
}

// Twice the API server is killed under load and started anew: answers go on; facts that are too old are unknown; what
// changed meanwhile counts.
func TestRealServeAPIServerKilled(t *testing.T) {
	g := faulted(t)
	h := &guarded{cluster: g.cluster, profile: filepath.Join(t.TempDir(), "proviso.yaml")}
	h.writeProfile(t, guardProfile)
	r, c := h.single(t, "orphaned", h)
	whole(t, r, c, map[string]bool{"home": true, "abroad": false})
	const tokyo = "location-region-allowed"
	l := under(t, 30, c.locations)
	for round := range 2 {
		kill := time.Now()
		h.writeProfile(t, guardProfile)
		until(t, 10*time.Second, "the profile to count", func(context.Context) error {
			if _, words := c.says(t, bsl("tokyo", "ap-northeast-1", "")); !strings.Contains(words, tokyo) {
				return fmt.Errorf("%s", words)
			}
			return nil
		})
		again := g.beheaded(t)
		silent(t, r, c)
		h.writeProfile(t, strings.Replace(guardProfile, "{", "{jurisdictions: [eu, JP], ", 1))
		until(t, 10*time.Second, "a profile that changes while there is no API server", func(context.Context) error {
			if _, words := c.says(t, bsl("tokyo", "ap-northeast-1", "")); strings.Contains(words, tokyo) {
				return fmt.Errorf("%s", words)
			}
			return nil
		})
		again()
		late := fmt.Sprint("late-", round)
		g.kubectl(t, bsl(late, "eu-central-1", ""), "apply", "-f", "-")
		whole(t, r, c, map[string]bool{"home": true, "abroad": false, late: true})
		t.Logf("round %d: whole again %v after the API server was killed, %d calls meanwhile", round, time.Since(kill).Round(time.Second), len(l.since(kill)))
	}
	l.check(t, nil)
}

// beheaded kills the API server, and returns what starts it anew and waits until it answers.
func (g *guarded) beheaded(t testing.TB) func() {
	t.Helper()
	var pid int
	var args []string
	for _, line := range strings.Split(run(t, nil, "", "ps", "-axww", "-o", "pid=,args="), "\n") {
		if fields := strings.Fields(line); len(fields) > 2 && strings.HasSuffix(fields[1], "kube-apiserver") && strings.Contains(line, "--etcd-servers="+g.etcd) {
			pid, _ = strconv.Atoi(fields[0])
			args = fields[2:]
		}
	}
	if pid == 0 {
		t.Fatalf("find the API server of %s among the processes", g.etcd)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	again := sync.OnceFunc(func() {
		t.Helper()
		s, err := start("kube-apiserver-again", nil, tool(t, "kube-apiserver"), args...)
		if err != nil {
			t.Fatal(err)
		}
		err = s.ready(2*time.Minute, func(ctx context.Context) error {
			cmd := exec.CommandContext(ctx, g.kubectlBin, "get", "--raw", "/readyz")
			cmd.Env = []string{"KUBECONFIG=" + g.kubeconfig, "HOME=" + scratch}
			out, err := cmd.CombinedOutput()
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(again) // other suites need it
	return again
}

// The connection to the API server stands and carries nothing: what changed behind it must not be judged by what is known
// from before.
func TestRealServeWatchHalfOpen(t *testing.T) {
	g := faulted(t)
	b := stand(t, g)
	g.kubectl(t, bsl("moving", "eu-central-1", ""), "apply", "-f", "-")
	r, c := g.single(t, "halfopen", b.guarded)
	whole(t, r, c, map[string]bool{"home": true, "moving": true, "abroad": false})
	l := under(t, 20, c.locations)
	b.strike(0, everything)
	// As somebody who may go around the webhook.
	g.drop(t, "validatingwebhookconfiguration", "halfopen")
	until(t, 10*time.Second, "the location to move", func(context.Context) error {
		if out, ok := g.try(t, bsl("moving", "us-east-1", ""), "apply", "-f", "-"); !ok {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	silent(t, r, c)
	if allowed, words := c.says(t, schedule("daily", "moving")); allowed {
		t.Errorf("a schedule was let in by what is known from before:\n%s", words)
	}
	b.heal()
	whole(t, r, c, map[string]bool{"home": true, "moving": false})
	l.check(t, nil)
}

// The API server answers listings and watches with 429 for a while.
func TestRealServeThrottled(t *testing.T) {
	g := faulted(t)
	b := stand(t, g)
	r, c := g.single(t, "throttled", b.guarded)
	l := under(t, 20, c.locations)
	b.strike(http.StatusTooManyRequests, everything)
	silent(t, r, c)
	b.heal()
	healed := time.Now()
	whole(t, r, c, map[string]bool{"home": true, "abroad": false})
	t.Logf("whole again after %v", time.Since(healed).Round(time.Second))
	l.check(t, nil)
}

// A replica that has not got its facts yet is not ready, and denies what it is asked all the same.
func TestRealServeBeforeReady(t *testing.T) {
	g := faulted(t)
	b := stand(t, g)
	b.strike(0, func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/backupstoragelocations") })
	at := port(t)
	g.own(t, "early", at)
	r := b.launch(t, "early", at)
	var c *caller
	until(t, 30*time.Second, "an answer", func(context.Context) error {
		if g.kubectl(t, "", "get", "validatingwebhookconfiguration", "early", "-o", "jsonpath={.webhooks[0].clientConfig.caBundle}") == "" {
			return fmt.Errorf("no authority is published")
		}
		c = g.direct(t, "early", at)
		_, err := c.review("first", someLocation(0, false))
		return err
	})
	for object, want := range map[string]string{someLocation(1, true): "location-region-allowed", schedule("daily", "home"): "were not listed yet"} {
		if allowed, words := c.says(t, object); allowed || !strings.Contains(words, want) {
			t.Errorf("before it is ready: allowed is %v, want a denial with %q:\n%s", allowed, want, words)
		}
	}
	if err := r.readyz(t.Context()); err == nil || !strings.Contains(err.Error(), "BackupStorageLocation") {
		t.Errorf("readyz: %v, want the kind that was not listed", err)
	}
	b.heal()
	whole(t, r, c, map[string]bool{"home": true, "abroad": false})
}

// Without an API server at its start a replica never says that it is ready.
func TestRealServeStartsWithoutAPIServer(t *testing.T) {
	g := faulted(t)
	b := stand(t, g)
	b.strike(http.StatusServiceUnavailable, everything)
	r := b.launch(t, "lonely", port(t))
	select {
	case <-r.done:
		if r.err == nil {
			t.Error("it ended with exit code 0")
		}
	case <-time.After(20 * time.Second):
		if err := r.readyz(t.Context()); err == nil {
			t.Error("it is ready")
		}
	}
	text, err := os.ReadFile(r.log)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("it said: %s", text[max(0, len(text)-300):])
}
