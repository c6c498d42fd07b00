package httpapi

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"scaleout/fsm"
	"scaleout/fsm/command"
	"scaleout/fsm/registry"
	"scaleout/httpapi/forward"
	"scaleout/httpapi/wire"
)

// Errors of Config.Identify. The other interfaces of Config fail with the outcomes that package command declares.
var (
	// ErrCertificateRequired: no certificate was presented.
	ErrCertificateRequired = errors.New("a client certificate of this cluster is required")
	// ErrUnknownCluster: the certificate is not of this cluster.
	ErrUnknownCluster = errors.New("the certificate is not of this cluster")
)

// Errors of the package's own making.
var (
	errInvalidCertificate = errors.New("the certificate is not valid")
	errForbidden          = errors.New("not permitted")
	errNotFound           = errors.New("there is nothing at this path")
	errMethod             = errors.New("this path does not take this method")
	errKeyReused          = errors.New("the request key was used for another request")
	errTimeout            = errors.New("the call took too long")
	errBadHop             = errors.New("malformed forwarding headers")
	errSlow               = errors.New("the body did not arrive in time")
)

// kind is what a caller sees of an error, beside its text.
type kind struct {
	status int
	code   string
	retry  int  // Retry-After, in seconds; 0: none
	hide   bool // the text is for the log only
}

// kinds is the one table from errors to answers. The first match counts.
var kinds = []struct {
	err error
	kind
}{
	// An unknown outcome comes first: whatever else is known, it must not look like "not applied".
	{command.ErrUnknownOutcome, kind{503, wire.CodeUnknownOutcome, 1, false}},
	{ErrCertificateRequired, kind{401, wire.CodeCertificateRequired, 0, false}},
	{ErrUnknownCluster, kind{403, wire.CodeUnknownCluster, 0, false}},
	{errInvalidCertificate, kind{403, "certificate_invalid", 0, false}},
	{errForbidden, kind{403, wire.CodeForbidden, 0, false}},
	{errBadHop, kind{400, "bad_forward", 0, false}},
	{errSlow, kind{408, "request_timeout", 0, false}},
	{errNotFound, kind{404, wire.CodeNotFound, 0, false}},
	{errMethod, kind{405, wire.CodeMethodNotAllowed, 0, false}},
	{errKeyReused, kind{422, wire.CodeKeyReused, 0, false}},
	{command.ErrStopping, kind{503, wire.CodeStopping, 1, false}},
	{command.ErrNotLeader, kind{503, wire.CodeNotLeader, 1, false}},
	{command.ErrNotReady, kind{503, wire.CodeNotLeader, 1, false}},
	{command.ErrDoubt, kind{503, wire.CodeNotLeader, 1, false}},
	{command.ErrNoLeader, kind{503, wire.CodeNoLeader, 1, false}},
	{command.ErrBusy, kind{503, wire.CodeBusy, 1, false}},
	{command.ErrTooLarge, kind{413, "command_too_large", 0, false}},
	{command.ErrLevel, kind{409, "feature_level", 0, false}},
	{command.ErrUnknownMember, kind{404, "member_not_found", 0, false}},
	{command.ErrRefused, kind{409, "refused", 0, false}},
	{command.ErrBackupDamaged, kind{422, "backup_damaged", 0, false}},
	{command.ErrBackupKey, kind{422, "backup_key", 0, false}},
	{command.ErrNotEmpty, kind{409, "cluster_not_empty", 0, false}},
	{fsm.ErrIndexPassed, kind{409, wire.CodeIndexPassed, 0, false}},
	// These two come first: they wrap what each master answered.
	{command.ErrNoBlob, kind{404, command.CodeBlobNotFound, 0, false}},
	{command.ErrNoMajority, kind{503, "no_majority", 5, false}},
	{command.ErrBlobTooLarge, kind{413, command.CodeProjectTooLarge, 0, false}},
	{command.ErrDigest, kind{422, "digest_mismatch", 0, false}},
	{command.ErrNoSpace, kind{507, "no_space", 0, false}},
	{errTimeout, kind{504, wire.CodeTimeout, 1, false}},
	{context.DeadlineExceeded, kind{504, wire.CodeTimeout, 1, false}},
	{context.Canceled, kind{499, wire.CodeCanceled, 0, false}}, // the caller is gone and will not read it
}

// codes are the refusals that the registry does not list: those of the log's own rules and of the workers.
var codes = map[string]int{
	"lease_too_short":       422,
	"agent_id_in_use":       409,
	"agent_id_taken":        403,
	"worker_not_registered": 404,
	"instance_replaced":     409,
	"stale_sequence":        409,
	"fenced":                409,
	"gap":                   409,
	"already_initialized":   409,
	"key_reused":            422,
	"too_many_keys":         429,
	wire.CodeLimitReached:   429,
}

var classes = map[registry.Class]int{
	registry.Invalid: 400, registry.Denied: 403, registry.NotFound: 404, registry.Conflict: 409, registry.TooLarge: 413,
}

var registered = func() map[string]int {
	m := make(map[string]int)
	for _, c := range slices.Concat(registry.Codes(), registry.StateCodes()) {
		m[c.Name] = classes[c.Class]
	}
	return m
}()

// statusOf is the status of a refusal's code. One that neither table knows does not fit the present state: the request
// was well-formed, or it would not have come that far.
func statusOf(code string) int {
	if s, ok := codes[code]; ok {
		return s
	}
	if s, ok := registered[code]; ok {
		return s
	}
	if strings.HasSuffix(code, "_not_found") {
		return http.StatusNotFound
	}
	return http.StatusConflict
}

// LimitReached is an error that refuses what would go beyond a limit of the masters' settings; nothing was done. It is
// answered with 429 and the code limit_reached.
type LimitReached struct {
	Limit  string        // name of the setting
	Detail string        // a sentence with the number, and what to do
	Retry  time.Duration // when another try may help; rounded up to whole seconds, one at least
}

func (e *LimitReached) Error() string { return wire.CodeLimitReached + ": " + e.Detail }

func (e *LimitReached) seconds() int { return max(1, int((e.Retry+time.Second-1)/time.Second)) }

// limitOf is the setting whose limit an error says is reached, "" for another error.
func limitOf(err error) string {
	var no *command.Rejection
	var limit *LimitReached
	switch {
	case errors.As(err, &no):
		return no.Limit
	case errors.As(err, &limit):
		return limit.Limit
	}
	return ""
}

// explain returns what a caller sees of an error, and its text.
func explain(err error) (kind, string) {
	var bad *wire.BadInput
	if errors.As(err, &bad) {
		if bad.Code == wire.CodeBodyTooLarge {
			return kind{status: 413, code: bad.Code}, bad.Detail
		}
		return kind{status: 400, code: bad.Code}, bad.Detail
	}
	var no *command.Rejection
	if errors.As(err, &no) {
		k := kind{status: statusOf(no.Code), code: no.Code}
		if k.status == http.StatusTooManyRequests {
			k.retry = 60
		}
		return k, no.Detail
	}
	var limit *LimitReached
	if errors.As(err, &limit) {
		return kind{status: http.StatusTooManyRequests, code: wire.CodeLimitReached, retry: limit.seconds()}, limit.Detail
	}
	for i := range kinds {
		if errors.Is(err, kinds[i].err) {
			k := kinds[i].kind
			return k, strings.TrimPrefix(err.Error(), k.code+": ") // the code is shown before the text
		}
	}
	return kind{status: 500, code: wire.CodeInternal, hide: true},
		"the master met an error of its own; its log has it under this request_id"
}

// outcomeOf tells the forwarder what an error of a handler says about the call.
func outcomeOf(err error) forward.Outcome {
	var no *command.Rejection
	if errors.As(err, &no) {
		return forward.Final
	}
	switch {
	case errors.Is(err, command.ErrUnknownOutcome) && errors.Is(err, command.ErrStopping):
		return forward.Final // whoever repeats it shall do so at a master that stays
	case errors.Is(err, command.ErrUnknownOutcome):
		return forward.Unknown
	case errors.Is(err, command.ErrNotLeader), errors.Is(err, command.ErrNoLeader), errors.Is(err, command.ErrNotReady),
		errors.Is(err, command.ErrDoubt), errors.Is(err, command.ErrStopping):
		return forward.NotApplied
	}
	return forward.Final
}
