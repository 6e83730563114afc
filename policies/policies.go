// Package policies is the built-in policies: data, one folder for each, DOMAIN/NAME, with its rule, its examples and its
// page. It holds no code and imports nothing of ours; package bundles reads and checks the folders. Start at [FS].
package policies

import "embed"

// FS holds the policy folders. A new domain is added here, a new policy by its folder alone.
//
//go:embed access completeness encryption governance immutability recoverability residency retention
var FS embed.FS
