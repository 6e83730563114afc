package main

import (
	"context"
	"fmt"
	"maps"

	"github.com/sirupsen/logrus"
	corev1api "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kbclient "sigs.k8s.io/controller-runtime/pkg/client"

	velerov1api "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	"github.com/vmware-tanzu/velero/pkg/client"
	"github.com/vmware-tanzu/velero/pkg/plugin/velero"
	"github.com/vmware-tanzu/velero/pkg/podvolume"
)

// cluster is the Kubernetes API as far as a backup asks it: the two clients Velero uses, over the objects of one question.
// A call it does not know is a panic: better no answer than a wrong one.
type cluster struct {
	kbclient.Client
	client.DynamicFactory
	objects map[schema.GroupResource][]*unstructured.Unstructured
}

func (c *cluster) hold(q Question) {
	c.objects = map[schema.GroupResource][]*unstructured.Unstructured{}
	all := append(append([]map[string]any{q.Object}, q.Others...), q.Namespaces...)
	if q.Spec.ResourcePolicy != nil {
		all = append(all, map[string]any{"apiVersion": "v1", "kind": "ConfigMap",
			"metadata": map[string]any{"namespace": namespace, "name": q.Spec.ResourcePolicy.Name}, "data": map[string]any{"policy": q.Policy}})
	}
	for _, o := range all {
		u := &unstructured.Unstructured{Object: o}
		r, ok := resourceOf(u.GetAPIVersion(), u.GetKind())
		if !ok {
			continue
		}
		if u.GetKind() == "Namespace" {
			// A Namespace that exists is in some phase.
			if _, found, _ := unstructured.NestedString(o, "status", "phase"); !found {
				_ = unstructured.SetNestedField(o, "Active", "status", "phase")
			}
		}
		gr := r.GroupVersionResource().GroupResource()
		c.objects[gr] = append(c.objects[gr], u)
	}
}

func (c *cluster) Get(_ context.Context, key kbclient.ObjectKey, into kbclient.Object, _ ...kbclient.GetOption) error {
	var gr schema.GroupResource
	switch o := into.(type) {
	case *velerov1api.BackupStorageLocation:
		o.Name, o.Namespace = key.Name, key.Namespace
		o.Status.Phase = velerov1api.BackupStorageLocationPhaseAvailable
		return nil
	case *corev1api.ConfigMap:
		gr.Resource = "configmaps"
	case *corev1api.PersistentVolume:
		gr.Resource = "persistentvolumes"
	case *corev1api.PersistentVolumeClaim:
		gr.Resource = "persistentvolumeclaims"
	default:
		panic(fmt.Sprintf("get of a %T", into))
	}
	u := c.find(gr, key.Namespace, key.Name)
	if u == nil {
		return apierrors.NewNotFound(gr, key.Name)
	}
	return runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, into)
}

func (c *cluster) List(_ context.Context, into kbclient.ObjectList, opts ...kbclient.ListOption) error {
	o := kbclient.ListOptions{}
	o.ApplyOptions(opts)
	switch l := into.(type) {
	case *corev1api.NamespaceList:
		return fill(c, "namespaces", o, &l.Items)
	case *corev1api.PodList:
		return fill(c, "pods", o, &l.Items)
	case *corev1api.PersistentVolumeClaimList:
		return fill(c, "persistentvolumeclaims", o, &l.Items)
	case *velerov1api.BackupStorageLocationList, *velerov1api.VolumeSnapshotLocationList, *velerov1api.BackupList:
		return nil
	}
	panic(fmt.Sprintf("list of a %T", into))
}

// Patch is asked for progress, which nobody reads here.
func (c *cluster) Patch(context.Context, kbclient.Object, kbclient.Patch, ...kbclient.PatchOption) error {
	return nil
}

func fill[T any](c *cluster, resource string, o kbclient.ListOptions, into *[]T) error {
	for _, u := range c.objects[schema.GroupResource{Resource: resource}] {
		if o.Namespace != "" && u.GetNamespace() != o.Namespace || o.LabelSelector != nil && !o.LabelSelector.Matches(labels.Set(u.GetLabels())) {
			continue
		}
		var item T
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &item); err != nil {
			return err
		}
		*into = append(*into, item)
	}
	return nil
}

func (c *cluster) find(gr schema.GroupResource, namespace, name string) *unstructured.Unstructured {
	for _, u := range c.objects[gr] {
		if u.GetNamespace() == namespace && u.GetName() == name {
			return u
		}
	}
	return nil
}

// ClientForGroupVersionResource is Velero's door to objects of any kind.
func (c *cluster) ClientForGroupVersionResource(gv schema.GroupVersion, r metav1.APIResource, namespace string) (client.Dynamic, error) {
	return dynamic{cluster: c, gr: gv.WithResource(r.Name).GroupResource(), namespace: namespace}, nil
}

type dynamic struct {
	client.Dynamic
	cluster   *cluster
	gr        schema.GroupResource
	namespace string
}

// List reads the label selector's text as the API server does.
func (d dynamic) List(o metav1.ListOptions) (*unstructured.UnstructuredList, error) {
	selector, err := labels.Parse(o.LabelSelector)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	list := &unstructured.UnstructuredList{}
	for _, u := range d.cluster.objects[d.gr] {
		if (d.namespace == "" || u.GetNamespace() == d.namespace) && selector.Matches(labels.Set(u.GetLabels())) {
			list.Items = append(list.Items, *u.DeepCopy())
		}
	}
	return list, nil
}

func (d dynamic) Get(name string, _ metav1.GetOptions) (*unstructured.Unstructured, error) {
	if u := d.cluster.find(d.gr, d.namespace, name); u != nil {
		return u.DeepCopy(), nil
	}
	return nil, apierrors.NewNotFound(d.gr, name)
}

// factory hands the cluster to Velero's item block actions.
type factory struct {
	client.Factory
	cluster *cluster
}

func (f factory) KubebuilderClient() (kbclient.Client, error) { return f.cluster, nil }

// noPodVolumes stands where data of pod volumes would be copied.
type noPodVolumes struct{ podvolume.Backupper }

func (noPodVolumes) NewBackupper(context.Context, logrus.FieldLogger, *velerov1api.Backup, string) (podvolume.Backupper, error) {
	return noPodVolumes{}, nil
}

func (noPodVolumes) WaitAllPodVolumesProcessed(logrus.FieldLogger) []*velerov1api.PodVolumeBackup {
	return nil
}

func (noPodVolumes) ListPodVolumeBackupsByPod(string, string) ([]*velerov1api.PodVolumeBackup, error) {
	return nil, nil
}

// action lets an action of Velero's first interface, as its own are, be called through the second, as the server does.
type action struct {
	first interface {
		AppliesTo() (velero.ResourceSelector, error)
		Execute(runtime.Unstructured, *velerov1api.Backup) (runtime.Unstructured, []velero.ResourceIdentifier, error)
	}
	name string
}

func (a action) Name() string                                { return a.name }
func (a action) AppliesTo() (velero.ResourceSelector, error) { return a.first.AppliesTo() }

func (a action) Execute(item runtime.Unstructured, b *velerov1api.Backup) (runtime.Unstructured, []velero.ResourceIdentifier, string, []velero.ResourceIdentifier, error) {
	item = &unstructured.Unstructured{Object: maps.Clone(item.UnstructuredContent())}
	updated, more, err := a.first.Execute(item, b)
	return updated, more, "", nil, err
}

func (action) Progress(string, *velerov1api.Backup) (velero.OperationProgress, error) {
	return velero.OperationProgress{}, nil
}

func (action) Cancel(string, *velerov1api.Backup) error { return nil }
