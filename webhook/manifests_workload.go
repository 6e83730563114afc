package webhook

import (
	"strconv"

	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// component is the label that tells the webhook's pods from the scan's.
const component = "app.kubernetes.io/component"

func (i Install) labels(of string) map[string]string {
	return map[string]string{"app.kubernetes.io/name": i.Name, component: of}
}

// workloads are what runs, and who may talk to it.
func (i Install) workloads() []runtime.Object {
	selector := &meta.LabelSelector{MatchLabels: i.labels("webhook")}
	return []runtime.Object{
		&core.Service{TypeMeta: typed("", "v1", "Service"), ObjectMeta: i.meta(i.Name), Spec: core.ServiceSpec{Selector: selector.MatchLabels,
			Ports: []core.ServicePort{{Name: "webhook", Port: 443, TargetPort: intstr.FromString("webhook")}}}},
		i.networkPolicy("webhook", Port, ProbesPort),
		i.networkPolicy("scan"),
		&policy.PodDisruptionBudget{TypeMeta: typed("policy", "v1", "PodDisruptionBudget"), ObjectMeta: i.meta(i.Name),
			Spec: policy.PodDisruptionBudgetSpec{MaxUnavailable: new(intstr.FromInt32(1)), Selector: selector}},
		i.replicas(selector),
		i.scan(),
	}
}

// deployment is replicas that keep nothing.
func (i Install) deployment(selector *meta.LabelSelector, template core.PodTemplateSpec) runtime.Object {
	return &apps.Deployment{TypeMeta: typed("apps", "v1", "Deployment"), ObjectMeta: i.meta(i.Name), Spec: apps.DeploymentSpec{
		Replicas: &i.Replicas, Selector: selector,
		// A new pod is ready before an old one goes.
		Strategy: apps.DeploymentStrategy{Type: apps.RollingUpdateDeploymentStrategyType,
			RollingUpdate: &apps.RollingUpdateDeployment{MaxUnavailable: new(intstr.FromInt32(0)), MaxSurge: new(intstr.FromInt32(1))}},
		Template: template,
	}}
}

// server is the pod that answers. It drains itself on SIGTERM, within the grace period.
func (i Install) server() core.PodSpec {
	args := []string{"serve", "--profile=" + profilePath + "/" + profileFile, "--name=" + i.Name, "--namespace=" + i.Namespace,
		"--timeout=" + strconv.Itoa(int(i.TimeoutSeconds)) + "s"}
	if i.Certificates == Own {
		args = append(args, "--certificates=own")
	} else {
		args = append(args, "--certificates="+tlsPath)
	}
	if i.Evidence != "" {
		args = append(args, "--evidence="+i.Evidence, "--key="+i.Key)
	}
	pod := i.pod("webhook", i.Name, append(args, i.Flags...))
	c := &pod.Containers[0]
	c.Ports = []core.ContainerPort{{Name: "webhook", ContainerPort: Port}, {Name: "probes", ContainerPort: ProbesPort}}
	probe := func(path string) *core.Probe {
		return &core.Probe{ProbeHandler: core.ProbeHandler{HTTPGet: &core.HTTPGetAction{Path: path, Port: intstr.FromString("probes")}},
			PeriodSeconds: 5, TimeoutSeconds: 2, FailureThreshold: 3}
	}
	c.ReadinessProbe, c.LivenessProbe, c.StartupProbe = probe("/readyz"), probe("/healthz"), probe("/healthz")
	c.ReadinessProbe.FailureThreshold = 1
	c.StartupProbe.FailureThreshold = 24
	if i.Certificates != Own {
		c.VolumeMounts = append(c.VolumeMounts, core.VolumeMount{Name: "tls", MountPath: tlsPath, ReadOnly: true})
		pod.Volumes = append(pod.Volumes, core.Volume{Name: "tls", VolumeSource: core.VolumeSource{Secret: &core.SecretVolumeSource{SecretName: i.tlsSecret()}}})
	}
	pod.TerminationGracePeriodSeconds = new(int64(60))
	for _, key := range []string{core.LabelHostname, core.LabelTopologyZone} {
		pod.TopologySpreadConstraints = append(pod.TopologySpreadConstraints, core.TopologySpreadConstraint{TopologyKey: key, MaxSkew: 1,
			WhenUnsatisfiable: core.ScheduleAnyway, LabelSelector: &meta.LabelSelector{MatchLabels: i.labels("webhook")}})
	}
	return pod
}

// scan looks each hour at what is there: what came in while nobody answered, and what no request ever shows.
func (i Install) scan() runtime.Object {
	pod := i.pod("scan", i.scanName(), []string{"scan", "cluster:", "--profile=" + profilePath + "/" + profileFile})
	pod.RestartPolicy = core.RestartPolicyNever
	return &batch.CronJob{TypeMeta: typed("batch", "v1", "CronJob"), ObjectMeta: i.meta(i.scanName()), Spec: batch.CronJobSpec{
		Schedule: "17 * * * *", ConcurrencyPolicy: batch.ForbidConcurrent, StartingDeadlineSeconds: new(int64(600)),
		// A scan that finds something ends in failure, and running it again finds the same.
		JobTemplate: batch.JobTemplateSpec{Spec: batch.JobSpec{BackoffLimit: new(int32(0)), ActiveDeadlineSeconds: new(int64(3000)),
			Template: core.PodTemplateSpec{ObjectMeta: meta.ObjectMeta{Labels: i.labels("scan")}, Spec: pod}}},
	}}
}

// pod is what the webhook's and the scan's pods have in common.
func (i Install) pod(name, account string, args []string) core.PodSpec {
	return core.PodSpec{
		ServiceAccountName: account,
		SecurityContext: &core.PodSecurityContext{RunAsNonRoot: new(true), RunAsUser: new(int64(65532)), RunAsGroup: new(int64(65532)),
			SeccompProfile: &core.SeccompProfile{Type: core.SeccompProfileTypeRuntimeDefault}},
		Containers: []core.Container{{
			Name: name, Image: i.Image, Args: args,
			// The runtime gives memory back before the limit ends the process.
			Env: []core.EnvVar{{Name: "GOMEMLIMIT", Value: "900MiB"}},
			Resources: core.ResourceRequirements{
				Requests: core.ResourceList{core.ResourceCPU: resource.MustParse("100m"), core.ResourceMemory: resource.MustParse("128Mi")},
				Limits:   core.ResourceList{core.ResourceMemory: resource.MustParse("1Gi")}},
			SecurityContext: &core.SecurityContext{AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true),
				Capabilities: &core.Capabilities{Drop: []core.Capability{"ALL"}}},
			VolumeMounts: []core.VolumeMount{{Name: "profile", MountPath: profilePath, ReadOnly: true}},
		}},
		Volumes: []core.Volume{{Name: "profile", VolumeSource: core.VolumeSource{ConfigMap: &core.ConfigMapVolumeSource{
			LocalObjectReference: core.LocalObjectReference{Name: i.profileName()}}}}},
	}
}

// networkPolicy lets pods be reached on these ports only, and reach nothing but names and API servers. Where API servers
// have their addresses no manifest can know: the ports they listen on are what can be said.
func (i Install) networkPolicy(of string, open ...int32) runtime.Object {
	ports := func(protocol core.Protocol, numbers ...int32) []networking.NetworkPolicyPort {
		var list []networking.NetworkPolicyPort
		for _, n := range numbers {
			list = append(list, networking.NetworkPolicyPort{Protocol: &protocol, Port: new(intstr.FromInt32(n))})
		}
		return list
	}
	p := &networking.NetworkPolicy{TypeMeta: typed("networking.k8s.io", "v1", "NetworkPolicy"), ObjectMeta: i.meta(i.Name + "-" + of), Spec: networking.NetworkPolicySpec{
		PodSelector: meta.LabelSelector{MatchLabels: i.labels(of)},
		PolicyTypes: []networking.PolicyType{networking.PolicyTypeIngress, networking.PolicyTypeEgress},
		Egress: []networking.NetworkPolicyEgressRule{
			{Ports: append(ports(core.ProtocolUDP, 53), ports(core.ProtocolTCP, 53)...), To: []networking.NetworkPolicyPeer{
				{NamespaceSelector: &meta.LabelSelector{MatchLabels: map[string]string{core.LabelMetadataName: meta.NamespaceSystem}}}}},
			{Ports: ports(core.ProtocolTCP, 443, 6443)},
		},
	}}
	if len(open) > 0 {
		p.Spec.Ingress = []networking.NetworkPolicyIngressRule{{Ports: ports(core.ProtocolTCP, open...)}}
	}
	return p
}
