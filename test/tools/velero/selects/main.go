// Command selects answers, with Velero's own code, which objects a Backup selects. It is what engine/selection is compared
// with.
//
// It reads one [Question] a line on standard input and writes one [Answer] a line. Each question is answered by a whole
// backup: the Backup is prepared by Velero's controller (validation, namespaces that carry the exclude label, automatic
// excludes, resource policies) and taken by Velero's backupper with its pod and PVC actions from a cluster held in memory,
// and the answer is read from the tarball that comes out.
package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"time"
	"unsafe"

	"github.com/sirupsen/logrus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	velerov1api "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	"github.com/vmware-tanzu/velero/pkg/backup"
	"github.com/vmware-tanzu/velero/pkg/backup/actions"
	"github.com/vmware-tanzu/velero/pkg/controller"
	"github.com/vmware-tanzu/velero/pkg/discovery"
	blockactions "github.com/vmware-tanzu/velero/pkg/itemblock/actions"
	"github.com/vmware-tanzu/velero/pkg/metrics"
	biav2 "github.com/vmware-tanzu/velero/pkg/plugin/velero/backupitemaction/v2"
	ibav1 "github.com/vmware-tanzu/velero/pkg/plugin/velero/itemblockaction/v1"
	"github.com/vmware-tanzu/velero/pkg/util/logging"
)

// Question asks whether Object is in a backup of a cluster that holds Object, Others and Namespaces and nothing else.
type Question struct {
	// Spec is a Backup's spec or a Schedule's template.
	Spec velerov1api.BackupSpec `json:"spec"`
	// Object and Others are whole objects with apiVersion and kind.
	Object map[string]any   `json:"object"`
	Others []map[string]any `json:"others,omitempty"`
	// Namespaces are whole Namespace objects; they need not be repeated among the others.
	Namespaces []map[string]any `json:"namespaces,omitempty"`
	// Policy is the text of the ConfigMap that spec.resourcePolicy names.
	Policy string `json:"policy,omitempty"`
}

// Answer is whether the object is in the tarball. Error is set where the backup was refused or failed as a whole; then
// nothing is selected.
type Answer struct {
	Selected bool   `json:"selected"`
	Error    string `json:"error,omitempty"`
}

// prepare is the controller's own step between a Backup as it was created and the request that is carried out. It is not
// exported, and a copy of it would be compared with itself.
//
//go:linkname prepare github.com/vmware-tanzu/velero/pkg/controller.(*backupReconciler).prepareBackupRequest
func prepare(reconciler unsafe.Pointer, ctx context.Context, b *velerov1api.Backup, log logrus.FieldLogger) *backup.Request

const namespace = "velero"

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "selects:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	s, err := newServer()
	if err != nil {
		return fmt.Errorf("start Velero's backupper: %w", err)
	}
	lines := bufio.NewReaderSize(in, 1<<20)
	w := bufio.NewWriter(out)
	answers := json.NewEncoder(w)
	for number := 1; ; number++ {
		line, err := lines.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			var q Question
			if err := json.Unmarshal(line, &q); err != nil {
				return fmt.Errorf("read question %d: %w", number, err)
			}
			if err := answers.Encode(s.answer(q)); err != nil {
				return err
			}
			if lines.Buffered() == 0 {
				if err := w.Flush(); err != nil {
					return err
				}
			}
		}
		if errors.Is(err, io.EOF) {
			return w.Flush()
		}
		if err != nil {
			return fmt.Errorf("read question %d: %w", number, err)
		}
	}
}

// server is Velero's backup controller and backupper over a cluster in memory.
type server struct {
	log        *logrus.Logger
	cluster    *cluster
	backupper  backup.Backupper
	reconciler unsafe.Pointer
}

func newServer() (*server, error) {
	log := logrus.New()
	log.SetOutput(io.Discard)
	log.SetLevel(logrus.PanicLevel)
	c := &cluster{}
	helper, err := discovery.NewHelper(newServed(), log)
	if err != nil {
		return nil, err
	}
	b, err := backup.NewKubernetesBackupper(c, helper, c, nil, noPodVolumes{}, time.Minute, false, 0, "kopia", nil, nil)
	if err != nil {
		return nil, err
	}
	r := controller.NewBackupReconciler(context.Background(), helper, b, log, logrus.PanicLevel, nil, controller.NewBackupTracker(), c,
		"default", false, time.Hour, "", time.Minute, time.Minute, time.Hour, nil, metrics.NewServerMetrics(), nil,
		logging.FormatText, nil, 1, false, 1, 1, c, "")
	return &server{log: log, cluster: c, backupper: b, reconciler: reflect.ValueOf(r).UnsafePointer()}, nil
}

func (s *server) answer(q Question) Answer {
	s.cluster.hold(q)
	// What is done with the data of volumes is no question of which objects are selected.
	q.Spec.DefaultVolumesToFsBackup, q.Spec.DefaultVolumesToRestic = new(bool), nil
	b := &velerov1api.Backup{
		TypeMeta:   metav1.TypeMeta{APIVersion: velerov1api.SchemeGroupVersion.String(), Kind: "Backup"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "asked"},
		Spec:       q.Spec,
	}
	request := prepare(s.reconciler, context.Background(), b, s.log)
	defer request.StopWorkerPool()
	if len(request.Status.ValidationErrors) > 0 {
		return Answer{Error: strings.Join(request.Status.ValidationErrors, "; ")}
	}
	block, err := blockactions.NewPVCAction(factory{cluster: s.cluster})(s.log)
	if err != nil {
		return Answer{Error: err.Error()}
	}
	var tarball bytes.Buffer
	err = s.backupper.Backup(s.log, request, &tarball,
		[]biav2.BackupItemAction{action{actions.NewPodAction(s.log), "velero.io/pod"}, action{actions.NewPVCAction(s.log), "velero.io/pv"}},
		[]ibav1.ItemBlockAction{block.(ibav1.ItemBlockAction), blockactions.NewPodAction(s.log)}, nil)
	if err != nil {
		return Answer{Error: err.Error()}
	}
	u := &unstructured.Unstructured{Object: q.Object}
	want, err := path(u)
	if err != nil {
		return Answer{Error: err.Error()}
	}
	found, err := holds(&tarball, want)
	if err != nil {
		return Answer{Error: err.Error()}
	}
	return Answer{Selected: found}
}

// path is where Velero puts an object in its tarball.
func path(u *unstructured.Unstructured) (string, error) {
	r, ok := resourceOf(u.GetAPIVersion(), u.GetKind())
	if !ok {
		return "", fmt.Errorf("the cluster serves no %s %s", u.GetAPIVersion(), u.GetKind())
	}
	gr := r.GroupVersionResource().GroupResource().String()
	if u.GetNamespace() == "" {
		return "resources/" + gr + "/cluster/" + u.GetName() + ".json", nil
	}
	return "resources/" + gr + "/namespaces/" + u.GetNamespace() + "/" + u.GetName() + ".json", nil
}

func holds(tarball io.Reader, want string) (bool, error) {
	z, err := gzip.NewReader(tarball)
	if err != nil {
		return false, err
	}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if h.Name == want {
			return true, nil
		}
	}
}
