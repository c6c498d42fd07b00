package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"scaleout/fsm/command"
	"scaleout/fsm/registry"
	"scaleout/httpapi/forward"
	"scaleout/httpapi/service"
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
	{errInvalidCertificate, kind{403, wire.CodeCertificateInvalid, 0, false}},
	{errForbidden, kind{403, wire.CodeForbidden, 0, false}},
	{errBadHop, kind{400, wire.CodeBadForward, 0, false}},
	{errSlow, kind{408, wire.CodeRequestTimeout, 0, false}},
	{errNotFound, kind{404, wire.CodeNotFound, 0, false}},
	{errMethod, kind{405, wire.CodeMethodNotAllowed, 0, false}},
	{command.ErrStopping, kind{503, wire.CodeStopping, 1, false}},
	{command.ErrNotLeader, kind{503, wire.CodeNotLeader, 1, false}},
	{command.ErrNotReady, kind{503, wire.CodeNotLeader, 1, false}},
	{command.ErrDoubt, kind{503, wire.CodeNotLeader, 1, false}},
	{command.ErrNoLeader, kind{503, wire.CodeNoLeader, 1, false}},
	{command.ErrBusy, kind{503, wire.CodeBusy, 1, false}},
	{command.ErrTooLarge, kind{413, wire.CodeCommandTooLarge, 0, false}},
	{command.ErrLevel, kind{409, wire.CodeFeatureLevel, 0, false}},
	{command.ErrUnknownMember, kind{404, wire.CodeMemberNotFound, 0, false}},
	{command.ErrRefused, kind{409, wire.CodeRefused, 0, false}},
	{command.ErrBackupDamaged, kind{422, wire.CodeBackupDamaged, 0, false}},
	{command.ErrBackupKey, kind{422, wire.CodeBackupKey, 0, false}},
	{command.ErrNotEmpty, kind{409, wire.CodeClusterNotEmpty, 0, false}},
	{command.ErrIndexPassed, kind{409, wire.CodeIndexPassed, 0, false}},
	// These two come first: they wrap what each master answered.
	{command.ErrNoBlob, kind{404, command.CodeBlobNotFound, 0, false}},
	{command.ErrNoMajority, kind{503, wire.CodeNoMajority, 5, false}},
	{command.ErrBlobTooLarge, kind{413, command.CodeProjectTooLarge, 0, false}},
	{command.ErrDigest, kind{422, wire.CodeDigestMismatch, 0, false}},
	{command.ErrNoSpace, kind{507, wire.CodeNoSpace, 0, false}},
	{service.ErrTimeout, kind{504, wire.CodeTimeout, 1, false}},
	{context.DeadlineExceeded, kind{504, wire.CodeTimeout, 1, false}},
	{context.Canceled, kind{499, wire.CodeCanceled, 0, false}}, // the caller is gone and will not read it
}

// seconds is a time as Retry-After says it: rounded up, one at least.
func seconds(d time.Duration) int { return max(1, int((d+time.Second-1)/time.Second)) }

// limitOf is the setting whose limit an error says is reached, "" for another error.
func limitOf(err error) string {
	var no *command.Rejection
	var limit *service.LimitReached
	switch {
	case errors.As(err, &no):
		return registry.Limit(no)
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
		family := registry.CodeOf(no.Code)
		k := kind{status: family.Status, code: family.Name}
		if k.status == http.StatusTooManyRequests {
			k.retry = 60
		}
		return k, registry.Detail(registry.HTTP, no)
	}
	var limit *service.LimitReached
	if errors.As(err, &limit) {
		return kind{status: http.StatusTooManyRequests, code: wire.CodeLimitReached, retry: seconds(limit.Retry)},
			limit.Detail
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
	case command.TryElsewhere(err):
		return forward.NotApplied
	}
	return forward.Final
}
