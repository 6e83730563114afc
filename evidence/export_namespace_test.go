package evidence

import "testing"

// What is kept of facts for one tenant names no other: what only may be the name of a namespace is taken for one.
func TestFactsThatNameOthers(t *testing.T) {
	for name, c := range map[string]struct {
		value string
		other bool
	}{
		"its own namespace":               {`{"kind":"Namespace","metadata":{"name":"a","labels":{"team":"a"}}}`, false},
		"another namespace":               {`{"kind":"Namespace","metadata":{"name":"b"}}`, true},
		"namespaces in a list":            {`[{"kind":"Namespace","metadata":{"name":"a"}},{"kind":"Namespace","metadata":{"name":"b"}}]`, true},
		"namespaces that name no kind":    {`{"kind":"NamespaceList","items":[{"metadata":{"name":"b"}}]}`, true},
		"an object in it":                 {`{"kind":"Secret","metadata":{"name":"x","namespace":"a"}}`, false},
		"an object elsewhere":             {`{"kind":"Secret","metadata":{"name":"x","namespace":"b"}}`, true},
		"an object of the cluster":        {`{"kind":"StorageClass","metadata":{"name":"b"},"provisioner":"p"}`, false},
		"a volume that is claimed":        {`{"kind":"PersistentVolume","spec":{"claimRef":{"namespace":"b","name":"data"}}}`, true},
		"a class with a Secret elsewhere": {`{"kind":"StorageClass","parameters":{"csi.storage.k8s.io/provisioner-secret-namespace":"b"}}`, true},
		"a Backup of it":                  {`{"kind":"Backup","metadata":{"namespace":"a"},"spec":{"includedNamespaces":["a"]}}`, false},
		"a Backup of all":                 {`{"kind":"Backup","spec":{"includedNamespaces":["*"],"excludedNamespaces":[]}}`, false},
		"a Backup of it and another":      {`{"kind":"Backup","metadata":{"namespace":"a"},"spec":{"includedNamespaces":["a","b"]}}`, true},
		"a Backup but of another":         {`{"kind":"Backup","spec":{"excludedNamespaces":["b"]}}`, true},
		"a Restore out of another":        {`{"kind":"Restore","spec":{"namespaceMapping":{"b":"a"}}}`, true},
		"a Restore into another":          {`{"kind":"Restore","spec":{"namespaceMapping":{"a":"b"}}}`, true},
		"a Restore of it":                 {`{"kind":"Restore","spec":{"namespaceMapping":{"a":"a"}}}`, false},
		"a bucket's":                      {`{"kind":"Backup","secrets":{"count":2,"namespaces":["a","b"]}}`, true},
		"fields of others":                {`{"metadata":{"namespace":"a","managedFields":[{"fieldsV1":{"f:spec":{"f:includedNamespaces":{"v:b":{}}}}}]}}`, true},
		"a selector":                      {`{"spec":{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"b"}}}}`, true},
		"a selector of all":               {`{"spec":{"namespaceSelector":{},"namespaced":true}}`, false},
		"nothing":                         {`null`, false},
		"no JSON":                         {`{`, true},
	} {
		if other := namesOther([]byte(c.value), "a"); other != c.other {
			t.Errorf("%s: names another: %v, want %v", name, other, c.other)
		}
	}
}
