package backup

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"scaleout/cluster/archive"
)

func TestParseOptions(t *testing.T) {
	lock := archive.NewLock(archive.FromKeyFile)
	raw, err := json.Marshal(lock)
	if err != nil {
		t.Fatal(err)
	}
	key := make([]byte, archive.KeySize)
	for _, c := range []struct {
		name      string
		key, lock []byte
		want      Options
		err       string // part of it; "": none
	}{
		{"without a key ring", nil, nil, Options{Blobs: true}, ""},
		{"a lock without a key says nothing", nil, []byte("{"), Options{Blobs: true}, ""},
		{"with the key ring", key, raw, Options{Blobs: true, Key: key, Lock: lock}, ""},
		{"no lock", key, nil, Options{}, "not the expected JSON"},
		{"a lock that is no JSON", key, []byte("{"), Options{}, "not the expected JSON"},
		{"a lock that this version would not make", key, []byte(`{"derivation":"none"}`), Options{}, "as this version does"},
		{"a short key", key[1:], raw, Options{}, "a key of 31 bytes; 32 were expected"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseOptions(true, c.key, c.lock)
			if !reflect.DeepEqual(got, c.want) || (err == nil) != (c.err == "") ||
				err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("%+v, %v; want %+v, %q", got, err, c.want, c.err)
			}
		})
	}
}
