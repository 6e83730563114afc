package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// UID is that of the cluster's kube-system namespace, which it has for life. The error names the rule that would grant it.
func (s *Source) UID(ctx context.Context) (string, error) {
	var ns struct {
		Metadata struct {
			UID string `json:"uid"`
		} `json:"metadata"`
	}
	err := s.get(ctx, "/api/v1/namespaces/kube-system", nil, "application/json", func(body []byte) error { return json.Unmarshal(body, &ns) })
	switch {
	case errors.Is(err, errRefused):
		return "", fmt.Errorf("get namespace kube-system: %w (the rule %s would grant it)", err, rule("", []string{"namespaces"}, "get"))
	case err != nil:
		return "", fmt.Errorf("get namespace kube-system: %w", err)
	case ns.Metadata.UID == "":
		return "", errors.New("get namespace kube-system: the answer has no uid")
	}
	return ns.Metadata.UID, nil
}
