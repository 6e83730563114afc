package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	admissionregistration "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"proviso.dev/proviso/engine"
)

// auditEvent is what is read of an event of the API server's audit log (audit.k8s.io/v1).
type auditEvent struct {
	AuditID    string `json:"auditID"`
	Stage      string `json:"stage"`
	RequestURI string `json:"requestURI"`
	Verb       string `json:"verb"`
	User       struct {
		Username string `json:"username"`
	} `json:"user"`
	Impersonated struct {
		Username string `json:"username"`
	} `json:"impersonatedUser"`
	Object struct {
		Resource    string `json:"resource"`
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
		Group       string `json:"apiGroup"`
		Version     string `json:"apiVersion"`
		Subresource string `json:"subresource"`
	} `json:"objectRef"`
	Response struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
	Received    time.Time         `json:"requestReceivedTimestamp"`
	Annotations map[string]string `json:"annotations"`
}

// operations are what verbs make the API server ask about. A patch or an update can create what was not there.
func (e *auditEvent) operation() admissionregistration.OperationType {
	switch e.Verb {
	case "create":
		return admissionregistration.Create
	case "update", "patch":
		if e.Response.Code == 201 {
			return admissionregistration.Create
		}
		return admissionregistration.Update
	case "delete", "deletecollection":
		return admissionregistration.Delete
	}
	return ""
}

// fits reports whether a record of an operation can be of the event. Of an update that was not let in the log does not say
// whether it would have created.
func (e *auditEvent) fits(operation string) bool {
	is := string(e.operation())
	return operation == is || !e.admitted() && is == engine.Update && operation == engine.Create
}

var requests = maphash.MakeSeed()

// request is a number for what was asked, the same in each copy of the event. The audit id alone is the client's to choose.
func (e *auditEvent) request() uint64 {
	return maphash.String(requests, strings.Join([]string{e.AuditID, e.Verb, e.RequestURI, e.Received.Format(time.RFC3339Nano)}, "\n")) | 1
}

// admitted reports whether the API server did what was asked.
func (e *auditEvent) admitted() bool { return e.Response.Code >= 200 && e.Response.Code < 300 }

// dry reports whether it was only tried. Of a deletion that stands in the body, which the log need not show.
func (e *auditEvent) dry() bool {
	u, err := url.Parse(e.RequestURI)
	return err == nil && u.Query().Has("dryRun")
}

func (e *auditEvent) user() string {
	if e.Impersonated.Username != "" {
		return e.Impersonated.Username
	}
	return e.User.Username
}

func (e *auditEvent) String() string { return fmt.Sprintf("%s (audit id %s)", e.words(), e.AuditID) }

// words say what was done to what, by whom and when. Of what was given its name by the API server the log does not have it.
func (e *auditEvent) words() string {
	resource := strings.TrimSuffix(e.Object.Resource+"."+e.Object.Group, ".")
	if e.Object.Subresource != "" {
		resource += "/" + e.Object.Subresource
	}
	return fmt.Sprintf("%s %s %s by %s at %s", e.Verb, resource, strings.TrimLeft(e.Object.Namespace+"/"+e.Object.Name, "/"), e.user(), e.Received.Format(time.RFC3339))
}

// longestEvent is how many bytes of an event are read: one at level RequestResponse holds objects.
const longestEvent = 64 << 20

// namedOnce refuses a file of the log that is named twice: what it tells would count twice.
func namedOnce(files []string) error {
	named := make([]os.FileInfo, len(files))
	for i, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			continue // who reads it tells
		}
		if at := slices.IndexFunc(named[:i], func(other os.FileInfo) bool { return os.SameFile(other, info) }); at >= 0 {
			return fmt.Errorf("read --audit %s: it is the file %s, named twice: name each file once", file, files[at])
		}
		named[i] = info
	}
	return nil
}

// readAudit calls a function for each event in a file, which may be compressed as rotated ones are. Cut is whether it ends in
// half an event: the API server was writing, or was killed.
func readAudit(file string, do func(*auditEvent) error) (cut bool, err error) {
	f, err := os.Open(file)
	if err != nil {
		return false, fmt.Errorf("read --audit: %w", err)
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 256<<10)
	if head, _ := in.Peek(2); bytes.Equal(head, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(in)
		if err != nil {
			return false, fmt.Errorf("read --audit %s: %w", file, err)
		}
		in = bufio.NewReaderSize(z, 256<<10)
	}
	for number := 1; ; number++ {
		line, err := boundedLine(in)
		last := errors.Is(err, io.EOF)
		if err != nil && !last {
			return false, fmt.Errorf("read --audit %s:%d: %w", file, number, err)
		}
		if last && len(line) == 0 {
			return false, nil
		}
		var e auditEvent
		if err := json.Unmarshal(line, &e); err != nil {
			if last {
				return true, nil
			}
			return false, fmt.Errorf("read --audit %s:%d: it is no event of an audit log: %w", file, number, err)
		}
		if e.AuditID == "" || e.Stage == "" || e.Verb == "" {
			return false, fmt.Errorf("read --audit %s:%d: it is no event of an audit log: it has no auditID, stage or verb (want JSON lines, as --audit-log-format=json writes them)", file, number)
		}
		if err := do(&e); err != nil {
			return false, err
		}
		if last {
			return false, nil
		}
	}
}

// boundedLine reads a line without its end.
func boundedLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > longestEvent:
			return nil, fmt.Errorf("a line has more than %d bytes", longestEvent)
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		}
		return bytes.TrimSuffix(line, []byte("\n")), err
	}
}

// watchedFrom is what the policies in force wanted to be asked about from a time on.
type watchedFrom struct {
	at       time.Time
	webhooks []admissionregistration.ValidatingWebhook
}

// watching is whether and why the API server is to ask about something.
type watching uint8

const (
	notWatched watching = iota
	watched
	// perhaps is an update by Velero's server, which the API server does not ask about where it only writes status.
	perhaps
)

// watched reports whether an event is about what is to be judged. The version does not count: another is converted.
func (w *watchedFrom) watches(e *auditEvent, writers []string) watching {
	for i := range w.webhooks {
		hook := &w.webhooks[i]
		asked := slices.ContainsFunc(hook.Rules, func(r admissionregistration.RuleWithOperations) bool {
			resource := e.Object.Resource
			if e.Object.Subresource != "" {
				resource += "/" + e.Object.Subresource
			}
			return slices.Contains(r.Operations, e.operation()) && slices.Contains(r.APIGroups, e.Object.Group) && slices.Contains(r.Resources, resource)
		})
		if !asked || !selects(hook.NamespaceSelector, e) {
			continue
		}
		if len(hook.MatchConditions) > 0 && e.operation() == admissionregistration.Update && e.Object.Group == "velero.io" && slices.Contains(writers, e.user()) {
			return perhaps
		}
		return watched
	}
	return notWatched
}

// selects reports whether a selector, which names namespaces alone, takes in where an event happened.
func selects(s *metav1.LabelSelector, e *auditEvent) bool {
	namespace := e.Object.Namespace
	if e.Object.Resource == "namespaces" && e.Object.Group == "" {
		namespace = e.Object.Name
	}
	selector, err := metav1.LabelSelectorAsSelector(s)
	return s == nil || err != nil || namespace == "" || selector.Matches(labels.Set{"kubernetes.io/metadata.name": namespace})
}
