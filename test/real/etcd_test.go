//go:build unix

package real

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// A snapshot of the live API server's etcd, taken as etcdctl takes it.
func TestRealEtcdSnapshot(t *testing.T) {
	c := liveCluster(t)
	c.fill(t)
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{c.etcd}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	snapshot, err := client.Snapshot(t.Context())
	if err != nil {
		t.Fatalf("take snapshot: %v", err)
	}
	data, err := io.ReadAll(snapshot)
	if err != nil {
		t.Fatalf("take snapshot: %v", err)
	}
	whole := filepath.Join(t.TempDir(), "whole.db")
	if err := os.WriteFile(whole, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f := scan(t, nil, "etcd:"+whole)
	f.want(t, "pass", "REC-07", "EtcdSnapshot", "whole.db")
	f.want(t, "fail", "ENC-12", "EtcdSnapshot", "whole.db") // this server does not encrypt its Secrets

	data[len(data)/2] ^= 1
	tampered := filepath.Join(t.TempDir(), "tampered.db")
	if err := os.WriteFile(tampered, data, 0o600); err != nil {
		t.Fatal(err)
	}
	scan(t, nil, "etcd:"+tampered).want(t, "fail", "REC-07", "EtcdSnapshot", "tampered.db")
}
