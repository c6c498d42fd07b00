package httpapi

import (
	"bytes"
	_ "embed"
	"encoding/json"
)

// openAPIDocument describes every route, procedure and view. 'make docs' writes it anew from their declarations, and
// TestOpenAPIDocument compares it with them.
//
//go:embed openapi.json
var openAPIDocument []byte

// openAPIVersion stands in the document in place of the version of the program.
const openAPIVersion = `"VERSION"`

// openAPI returns the document of this version of the program, in one line.
func openAPI(version string) ([]byte, error) {
	if version == "" {
		version = "unknown"
	}
	quoted, err := json.Marshal(version)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = json.Compact(&out, bytes.Replace(openAPIDocument, []byte(openAPIVersion), quoted, 1))
	return out.Bytes(), err
}
