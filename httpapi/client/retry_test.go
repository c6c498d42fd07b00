package client

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"scaleout/httpapi/wire"
)

// What a refusal means for the next attempt depends on its status and code alone.
func TestOutcomeOfARefusal(t *testing.T) {
	for _, test := range []struct {
		name string
		err  Error
		want outcome
	}{
		{"not the leader", Error{Status: 503, Code: wire.CodeNotLeader}, notApplied},
		{"no leader", Error{Status: 503, Code: wire.CodeNoLeader}, notApplied},
		{"stopping", Error{Status: 503, Code: wire.CodeStopping}, notApplied},
		{"busy", Error{Status: 503, Code: wire.CodeBusy}, notApplied},
		{"unknown outcome", Error{Status: 503, Code: wire.CodeUnknownOutcome}, unknown},
		{"time-out", Error{Status: 504, Code: wire.CodeTimeout}, unknown},
		{"canceled", Error{Status: 503, Code: wire.CodeCanceled}, unknown},
		{"a limit", Error{Status: 429, Code: wire.CodeLimitReached, RetryAfter: time.Second}, noRoom},
		{"a limit for which waiting does not help", Error{Status: 429, Code: wire.CodeLimitReached}, final},
		{"an invalid argument", Error{Status: 400, Code: wire.CodeInvalidArgument}, final},
		{"an internal error", Error{Status: 500, Code: wire.CodeInternal}, final},
		{"a proxy without a back end", Error{Status: http.StatusServiceUnavailable}, notApplied},
		{"a proxy whose back end broke off", Error{Status: http.StatusBadGateway}, unknown},
		{"a proxy whose back end was slow", Error{Status: http.StatusGatewayTimeout}, unknown},
		{"a page that is not ours", Error{Status: http.StatusNotFound}, final},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := outcomeOf(&test.err); got != test.want {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}

// What is tried again, and at which master first.
func TestClassify(t *testing.T) {
	broken := errors.New("broken")
	leader := &Error{Code: wire.CodeNotLeader, Problem: wire.Problem{Leader: &wire.Leader{Address: "https://b:1"}}}
	once, repeatable := request{}, request{repeatable: true}
	for _, test := range []struct {
		name string
		err  error
		r    request
		next string
		want error // nil: it is tried again
	}{
		{"not sent", &failure{err: broken}, once, "", nil},
		{"sent", &failure{err: broken, sent: true}, once, "", ErrUnknownOutcome},
		{"sent and repeatable", &failure{err: broken, sent: true}, repeatable, "", nil},
		{"not the leader", leader, once, "https://b:1", nil},
		{"not the leader, and nobody knows which", &Error{Code: wire.CodeNotLeader}, once, "", nil},
		{"unknown outcome", &Error{Code: wire.CodeUnknownOutcome}, once, "", ErrUnknownOutcome},
		{"unknown outcome and repeatable", &Error{Code: wire.CodeUnknownOutcome}, repeatable, "", nil},
		{"one master's own refusal", &Error{Code: wire.CodeBlobNotFound}, request{localRefusal: wire.CodeBlobNotFound}, "",
			nil},
		{"no master's fault", broken, repeatable, "", broken},
	} {
		t.Run(test.name, func(t *testing.T) {
			next, err := classify(test.err, &test.r)
			if next != test.next || (err == nil) != (test.want == nil) || err != nil && !errors.Is(err, test.want) {
				t.Errorf("%q, %v; want %q, %v", next, err, test.next, test.want)
			}
		})
	}
	refused := &Error{Status: 400, Code: wire.CodeInvalidArgument}
	if _, err := classify(refused, &repeatable); !errors.Is(err, refused) {
		t.Errorf("a refusal that stands: %v", err)
	}
}
