package transport

import (
	"errors"
	"fmt"
	"io"
)

// A preamble is the first thing on a Raft or peer connection:
//
//	"SCLO" version(1) then three strings, each length(1) bytes:
//	cluster id, node id of the dialler, node id that is wanted
//
// and its answer:
//
//	code(1) length(1) text
//
// The dialler sends nothing more until it has the answer.
const (
	preambleMagic   = "SCLO"
	preambleVersion = 1
	maxID           = 128
	maxReason       = 255
)

type preamble struct {
	Cluster, From, Wanted string
}

type verdict byte

const (
	verdictOK           verdict = 0
	verdictBad          verdict = 1
	verdictWrongCluster verdict = 2
	verdictWrongNode    verdict = 3
	verdictBusy         verdict = 4
	verdictNotReady     verdict = 5
)

func (v verdict) err() error {
	switch v {
	case verdictOK:
		return nil
	case verdictBad:
		return ErrBadPreamble
	case verdictWrongCluster:
		return ErrWrongCluster
	case verdictWrongNode:
		return ErrWrongNode
	case verdictBusy:
		return ErrBusy
	default:
		// A later version may have more reasons; all of them mean no.
		return ErrNotReady
	}
}

func (p preamble) marshal() []byte {
	b := append([]byte(preambleMagic), preambleVersion)
	for _, s := range []string{p.Cluster, p.From, p.Wanted} {
		b = append(b, byte(len(s)))
		b = append(b, s...)
	}
	return b
}

// readPreamble reads no byte beyond the preamble and at most 5+3*129 in all.
func readPreamble(r io.Reader) (preamble, error) {
	var head [len(preambleMagic) + 1]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return preamble{}, short(err)
	}
	if string(head[:len(preambleMagic)]) != preambleMagic {
		return preamble{}, fmt.Errorf("%w: it begins with %q, not %q", ErrBadPreamble, head[:len(preambleMagic)],
			preambleMagic)
	}
	if v := head[len(preambleMagic)]; v != preambleVersion {
		return preamble{}, fmt.Errorf("%w: version %d; this program speaks %d", ErrBadPreamble, v, preambleVersion)
	}
	var p preamble
	for _, f := range []struct {
		name string
		to   *string
		id   bool
	}{{"cluster id", &p.Cluster, false}, {"node id", &p.From, true}, {"wanted node id", &p.Wanted, true}} {
		s, err := readString(r, maxID)
		if err != nil {
			return preamble{}, fmt.Errorf("%s: %w", f.name, err)
		}
		if s == "" || (f.id && !validNodeID(s)) {
			return preamble{}, fmt.Errorf("%w: %s %q", ErrBadPreamble, f.name, s)
		}
		*f.to = s
	}
	return p, nil
}

func marshalVerdict(v verdict, reason string) []byte {
	if len(reason) > maxReason {
		reason = reason[:maxReason]
	}
	return append([]byte{byte(v), byte(len(reason))}, reason...)
}

func readVerdict(r io.Reader) error {
	var code [1]byte
	if _, err := io.ReadFull(r, code[:]); err != nil {
		return err
	}
	reason, err := readString(r, maxReason)
	if err != nil {
		return err
	}
	if err := verdict(code[0]).err(); err != nil {
		return fmt.Errorf("%w: %q", err, reason)
	}
	return nil
}

func readString(r io.Reader, limit int) (string, error) {
	var n [1]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return "", short(err)
	}
	if int(n[0]) > limit {
		return "", fmt.Errorf("%w: a string of %d bytes; at most %d", ErrBadPreamble, n[0], limit)
	}
	b := make([]byte, n[0])
	if _, err := io.ReadFull(r, b); err != nil {
		return "", short(err)
	}
	return string(b), nil
}

func short(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends early", ErrBadPreamble)
	}
	return err
}

// validNodeID also keeps ids fit for the host part of a URL.
func validNodeID(id string) bool {
	if id == "" || len(id) > maxID {
		return false
	}
	for _, c := range []byte(id) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}
