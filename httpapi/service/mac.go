package service

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"maps"
	"slices"
	"strconv"
	"strings"

	"scaleout/fsm/procedure"
	"scaleout/fsm/sqltype"
)

// leastSecret is how long a secret for request MACs must be, in bytes.
const leastSecret = 16

// requestMAC authenticates what a caller gave, under the state's secret: how it is spelled and in which order it stands
// does not matter, names are compared as Bind compares them, and NULL is as good as nothing. Defaults are no part of
// it: a later version that gives the procedure another parameter computes the same for the same call.
func requestMAC(secret []byte, p *procedure.Procedure, raw procedure.Raw) ([]byte, error) {
	if len(secret) < leastSecret {
		return nil, errors.New("the state has no secret for request keys")
	}
	arguments := raw.Reveal()
	given := make(map[string]any, len(arguments))
	for name, b := range arguments {
		v, err := document(b)
		if err != nil {
			return nil, fmt.Errorf("argument %.64q: %w", name, err)
		}
		if v != nil {
			given[sqltype.Fold(strings.TrimPrefix(name, "@"))] = v
		}
	}
	h := hmac.New(sha256.New, secret)
	writePart(h, 'p', []byte(sqltype.Fold(p.Name)))
	canonical(h, given)
	return h.Sum(nil), nil
}

// text is a JSON string as it was sent, without its quotes; it holds nothing escaped. Project files come as such.
type text []byte

func document(b json.RawMessage) (v any, err error) {
	b = bytes.TrimSpace(b)
	if n := len(b); n >= 2 && b[0] == '"' && !bytes.ContainsRune(b, '\\') {
		return text(b[1 : n-1]), nil
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	err = d.Decode(&v)
	return v, err
}

// canonical hashes a JSON value so that equal values, and only those, give equal bytes.
func canonical(h hash.Hash, v any) {
	switch v := v.(type) {
	case nil:
		writePart(h, 'n', nil)
	case bool:
		writePart(h, 'b', strconv.AppendBool(nil, v))
	case json.Number:
		writePart(h, 'd', []byte(canonicalNumber(string(v))))
	case text:
		writePart(h, 's', v)
	case string:
		writePart(h, 's', []byte(v))
	case []any:
		writePart(h, 'a', binary.AppendUvarint(nil, uint64(len(v))))
		for _, item := range v {
			canonical(h, item)
		}
	case map[string]any:
		writePart(h, 'o', binary.AppendUvarint(nil, uint64(len(v))))
		for _, name := range slices.Sorted(maps.Keys(v)) {
			writePart(h, 'k', []byte(name))
			canonical(h, v[name])
		}
	}
}

func writePart(h hash.Hash, kind byte, b []byte) {
	head := [9]byte{kind}
	binary.BigEndian.PutUint64(head[1:], uint64(len(b)))
	h.Write(head[:])
	h.Write(b)
}

// canonicalNumber returns the one spelling of a JSON number's value: 1, 1.0, 10e-1 are the same. It computes with the
// text alone, since a bigint has more digits than a float and an exponent may be any number.
func canonicalNumber(s string) string {
	whole, exponent, _ := strings.Cut(strings.ToLower(s), "e")
	e := 0
	if exponent != "" {
		var err error
		if e, err = strconv.Atoi(exponent); err != nil || e > 1<<30 || e < -1<<30 {
			return s
		}
	}
	whole, negative := strings.CutPrefix(whole, "-")
	digits, fraction, _ := strings.Cut(whole, ".")
	digits, e = strings.TrimLeft(digits+fraction, "0"), e-len(fraction)
	short := strings.TrimRight(digits, "0")
	e += len(digits) - len(short)
	switch {
	case short == "":
		return "0"
	case negative:
		short = "-" + short
	}
	return short + "e" + strconv.Itoa(e)
}
