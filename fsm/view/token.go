package view

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"

	"scaleout/fsm/command"
	"scaleout/fsm/sqltype"
)

const tokenSum = 8

// checksum binds a token to its query, so that one of another query, or a changed one, is refused. It guards against
// mistakes; a forged token could but ask for rows that its caller may see anyway.
func (o *order) checksum(r Request, body []byte) []byte {
	h := sha256.New()
	write := func(s string) {
		h.Write(sqltype.AppendString(nil, s))
	}
	write(o.view.Name)
	write(sqltype.Fold(r.Order))
	where := slices.Clone(r.Where)
	slices.SortFunc(where, func(a, b Predicate) int {
		return cmp.Or(sqltype.CompareText(a.Column, b.Column), cmp.Compare(a.Operator, b.Operator))
	})
	for _, p := range where {
		write(sqltype.Fold(p.Column))
		write(string(p.Operator))
		write(strconv.Itoa(len(p.Values)))
		for _, v := range slices.Sorted(slices.Values(p.Values)) {
			write(v)
		}
	}
	h.Write(body)
	return h.Sum(nil)[:tokenSum]
}

// encodeToken is the place after a row: the values of the order's columns.
func (o *order) encodeToken(r Request, place []any) string {
	body := []byte{'['}
	for i, s := range o.by {
		if i > 0 {
			body = append(body, ',')
		}
		col := &o.view.Columns[s.index]
		var err error
		if body, err = sqltype.AppendJSON(body, col.Type, place[i]); err != nil {
			return "" // AppendJSON reports the same mistake in the view
		}
	}
	body = append(body, ']')
	return base64.RawURLEncoding.EncodeToString(append(o.checksum(r, body), body...))
}

// decodeToken returns the place; nil for the first page.
func (o *order) decodeToken(r Request) ([]any, error) {
	if r.PageToken == "" {
		return nil, nil
	}
	bad := command.Refuse(command.CodePageToken)
	raw, err := base64.RawURLEncoding.DecodeString(r.PageToken)
	if err != nil || len(raw) < tokenSum || !bytes.Equal(raw[:tokenSum], o.checksum(r, raw[tokenSum:])) {
		return nil, bad
	}
	var values []json.RawMessage
	if err := json.Unmarshal(raw[tokenSum:], &values); err != nil || len(values) != len(o.by) {
		return nil, bad
	}
	place := make([]any, len(o.by))
	for i, s := range o.by {
		// A place may hold what no argument may.
		if place[i], err = sqltype.Coerce(o.view.Columns[s.index].Type.Unlimited(), values[i]); err != nil {
			return nil, bad
		}
	}
	return place, nil
}
