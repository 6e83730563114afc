package cluster

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
)

// Named checks that there is something to connect to, and says what to do where there is not: no kubeconfig, or none with
// that context. What [Connect] then finds of it is another matter.
func Named(kubeconfigContext string) error {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	raw, err := rules.Load()
	if err != nil {
		return fmt.Errorf("read kubeconfig: %w", err)
	}
	contexts := slices.Sorted(maps.Keys(raw.Contexts))
	inCluster := kubeconfigContext == "" && os.Getenv("KUBERNETES_SERVICE_HOST") != ""
	switch {
	case len(contexts) == 0 && !inCluster:
		return fmt.Errorf("connect to cluster: there is no kubeconfig with a context in %s: name one by KUBECONFIG, or run in a pod of the cluster", strings.Join(rules.Precedence, ", "))
	case kubeconfigContext == "" && raw.CurrentContext == "" && len(contexts) > 0:
		return fmt.Errorf("connect to cluster: the kubeconfig has no current context: scan cluster:CONTEXT with one of %s", strings.Join(contexts, ", "))
	}
	return nil
}
