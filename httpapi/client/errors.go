package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"scaleout/httpapi/wire"
)

// The errors that a caller can distinguish with errors.Is.
var (
	// ErrUnreachable means that no master could be reached.
	ErrUnreachable = errors.New("client: no master is reachable")
	// ErrUntrusted means that this client trusts none of the masters' certificates: waiting would not change that. It is
	// an ErrUnreachable, too.
	ErrUntrusted error = untrustedError{}
	// ErrNoLeader means that masters answer but have no leader.
	ErrNoLeader = errors.New("client: the cluster has no leader")
	// ErrUnknownOutcome means that the call may have been applied, and that it is not safe to repeat it.
	ErrUnknownOutcome = errors.New("client: the outcome of the call is unknown")
	// ErrCorrupt means that a blob's content does not match its digest.
	ErrCorrupt = errors.New("client: content does not match its digest")
)

type untrustedError struct{}

func (untrustedError) Error() string        { return "client: no master's certificate is trusted here" }
func (untrustedError) Is(target error) bool { return target == ErrUnreachable }

// Error is a master's refusal.
type Error struct {
	Status     int
	Code       string // stable; "" if the answer is not a problem document
	Detail     string
	RequestID  string
	RetryAfter time.Duration // 0: the master gave none
	Master     string        // the master that answered
	Problem    wire.Problem  // the whole document

	body []byte // of an answer that is not a problem document
}

func (e *Error) Error() string {
	if e.Code == "" {
		return fmt.Sprintf("%s answered %d %s", e.Master, e.Status, e.Detail)
	}
	if e.Detail == "" {
		return e.Code
	}
	return e.Code + ": " + e.Detail
}

// Is makes errors.Is find ErrNoLeader and ErrUnknownOutcome in a refusal.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrNoLeader:
		return e.Code == wire.CodeNoLeader || e.Code == wire.CodeNotLeader
	case ErrUnknownOutcome:
		return e.Code == wire.CodeUnknownOutcome
	}
	return false
}

// Code returns the code of the *Error in err, and "" if there is none.
func Code(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// maxProblem bounds the body of a refusal.
const maxProblem = 1 << 20

func problemOf(master string, resp *http.Response) *Error {
	e := &Error{Status: resp.StatusCode, Master: master, RequestID: resp.Header.Get(wire.HeaderRequestID)}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		e.RetryAfter = time.Duration(s) * time.Second
	}
	b, _ := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if kind == wire.ContentProblem && json.Unmarshal(b, &e.Problem) == nil {
		e.Code, e.Detail = e.Problem.Code, e.Problem.Detail
		if e.Problem.RequestID != "" {
			e.RequestID = e.Problem.RequestID
		}
		return e
	}
	e.body = b
	e.Detail = strings.TrimSpace(string(b[:min(len(b), 200)]))
	return e
}

// outcome says what a refusal means for the next attempt.
type outcome int

const (
	final      outcome = iota // the refusal stands
	notApplied                // the call was certainly not applied: try again
	unknown                   // the call may have been applied
	noRoom                    // the call was not applied because of a limit: try again after RetryAfter
)

func outcomeOf(e *Error) outcome {
	if e.Status == http.StatusTooManyRequests && e.RetryAfter > 0 {
		return noRoom
	}
	switch e.Code {
	case wire.CodeNotLeader, wire.CodeNoLeader, wire.CodeStopping, wire.CodeBusy:
		return notApplied
	case wire.CodeUnknownOutcome, wire.CodeTimeout, wire.CodeCanceled:
		return unknown
	case "":
		// Something between the client and the master answered, for example a load balancer without a back end.
		switch e.Status {
		case http.StatusServiceUnavailable:
			return notApplied
		case http.StatusBadGateway, http.StatusGatewayTimeout:
			return unknown
		}
	}
	return final
}
