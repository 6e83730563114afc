package evidence

import (
	"bytes"
	_ "embed" // for the schema
)

//go:embed schema/record.json
var schema []byte

// Schema is the JSON Schema (draft 2020-12) of a [Record].
func Schema() []byte { return bytes.Clone(schema) }
