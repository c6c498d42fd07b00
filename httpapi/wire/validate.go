package wire

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"scaleout/fsm/command"
	"scaleout/fsm/sqltype"
)

// The bounds of one request.
const (
	MaxAttempts     = 10_000 // in one list of an exchange or registration
	MaxMessages     = 10_000 // in one messages request
	MaxMessageItems = 1_000

	MaxTextBytes = 64 << 10 // of one message or one final report
	MaxNameBytes = 512      // of one name in a registration
	MaxWaitMs    = 10 * 60 * 1000

	maxDescription = 256 // characters of a worker's description, as in the catalog's column
	maxExtensions  = 64  // of one worker
)

// invalidInExtension reports whether an extension must not contain the character: extensions are listed and looked up
// by name.
func invalidInExtension(r rune) bool {
	return !unicode.In(r, unicode.L, unicode.M, unicode.Nd) && !strings.ContainsRune("_-+~$", r)
}

// Validate checks what the types cannot express. Its errors are *BadInput.
func (r *Register) Validate() error {
	required := []struct{ name, value string }{
		{"agent_id", r.AgentID}, {"instance", r.Incarnation}, {"machine_id", r.MachineID}, {"boot_id", r.BootID},
	}
	for _, f := range required {
		if f.value == "" {
			return bad(CodeInvalidArgument, "%s is missing", f.name)
		}
	}
	texts := append(required, []struct{ name, value string }{
		{"version", r.Version}, {"machine_name", r.MachineName}, {"user_account", r.UserAccount},
		{"display_name", r.DisplayName}, {"description", r.Description},
	}...)
	for _, f := range texts {
		if f.name == "description" {
			if n := sqltype.Characters(f.value); n > maxDescription {
				return bad(CodeInvalidArgument, "%s has %d characters; at most %d are taken", f.name, n, maxDescription)
			}
			continue // a description may contain any characters
		}
		if len(f.value) > MaxNameBytes {
			return bad(CodeInvalidArgument, "%s has %d bytes; at most %d are taken", f.name, len(f.value), MaxNameBytes)
		}
		if at := strings.IndexFunc(f.value, sqltype.Hidden); at >= 0 {
			r, _ := utf8.DecodeRuneInString(f.value[at:])
			return bad(CodeInvalidArgument,
				"%s: %.80q contains the character %q; control and format characters are not allowed in names", f.name, f.value, r)
		}
	}
	numbers := []struct {
		name  string
		value int64
	}{
		{"max_task_count", int64(r.MaxTaskCount)}, {"lease_ms", r.LeaseMs}, {"task_heartbeat_ms", r.TaskHeartbeatMs},
		{"agent_heartbeat_ms", r.AgentHeartbeatMs}, {"error_tolerance_ms", r.ErrorToleranceMs},
	}
	const limit = int64(command.MaxSpanMs) // of the number of tasks too
	for _, f := range numbers {
		if f.value <= 0 || f.value > limit {
			return bad(CodeInvalidArgument, "%s is %d; a number from 1 to %d was expected", f.name, f.value, limit)
		}
	}
	if len(r.Extensions) > maxExtensions || len(r.Bitness) > 8 {
		return bad(CodeInvalidArgument, "%d extensions and %d bitness values; at most %d and 8 are taken",
			len(r.Extensions), len(r.Bitness), maxExtensions)
	}
	for _, e := range r.Extensions {
		if len(e) < 2 || len(e) > 32 || e[0] != '.' || strings.ContainsFunc(e[1:], invalidInExtension) {
			return bad(CodeInvalidArgument, "extensions: %q; something like \".dtsx\" was expected", e)
		}
	}
	for _, b := range r.Bitness {
		if b != 32 && b != 64 {
			return bad(CodeInvalidArgument, "bitness: %d; 32 or 64 was expected", b)
		}
	}
	return validateAttempts(r.Running, r.Ended)
}

// Validate checks what the types cannot express. Its errors are *BadInput.
func (e *Exchange) Validate() error {
	if err := validateIncarnation(e.Incarnation); err != nil {
		return err
	}
	if e.WaitMs < 0 || e.WaitMs > MaxWaitMs {
		return bad(CodeInvalidArgument, "wait_ms is %d; 0 to %d was expected", e.WaitMs, MaxWaitMs)
	}
	if e.Slots < 0 || e.Slots > MaxAttempts {
		return bad(CodeInvalidArgument, "slots is %d; 0 to %d was expected", e.Slots, MaxAttempts)
	}
	return validateAttempts(e.Running, e.Ended)
}

// validateIncarnation checks the field instance of an exchange or a messages request.
func validateIncarnation(incarnation string) error {
	if n := len(incarnation); n == 0 || n > MaxNameBytes {
		return bad(CodeInvalidArgument, "instance has %d bytes; 1 to %d were expected", n, MaxNameBytes)
	}
	return nil
}

// validateAttempts checks the attempts of an exchange or registration. Each attempt may occur once.
func validateAttempts(running []AttemptRef, ended []Ended) error {
	if len(running) > MaxAttempts || len(ended) > MaxAttempts {
		return bad(CodeInvalidArgument, "%d running and %d ended attempts; at most %d of each are taken",
			len(running), len(ended), MaxAttempts)
	}
	seen := make(map[AttemptRef]string, len(running)+len(ended))
	check := func(field string, i int, ref AttemptRef) error {
		if ref.TaskID <= 0 || ref.Attempt <= 0 {
			return bad(CodeInvalidArgument, "%s[%d]: task_id %d, attempt %d; both count from 1",
				field, i, ref.TaskID, ref.Attempt)
		}
		if other, duplicate := seen[ref]; duplicate {
			return bad(CodeInvalidArgument, "%s[%d]: attempt %d of task %d is already in %s",
				field, i, ref.Attempt, ref.TaskID, other)
		}
		seen[ref] = field
		return nil
	}
	for i, r := range running {
		if err := check("running", i, r); err != nil {
			return err
		}
	}
	for i, r := range ended {
		if err := check("ended", i, AttemptRef{r.TaskID, r.Attempt}); err != nil {
			return err
		}
		switch r.Outcome {
		case OutcomeSucceeded, OutcomeFailed, OutcomeCanceled, OutcomeReturned:
		default:
			return bad(CodeInvalidArgument,
				"ended[%d]: outcome %.64q; succeeded, failed, canceled or returned was expected", i, r.Outcome)
		}
		if r.Code != "" && r.Code != EndedRunTimeout {
			return bad(CodeInvalidArgument, "ended[%d]: code %.64q; %s or nothing was expected",
				i, r.Code, EndedRunTimeout)
		}
		if r.Messages < 0 || r.Messages > command.MaxAttemptMessages {
			return bad(CodeInvalidArgument, "ended[%d]: %d messages; 0 to %d was expected",
				i, r.Messages, int64(command.MaxAttemptMessages))
		}
		if len(r.Message) > MaxTextBytes {
			return bad(CodeInvalidArgument, "ended[%d]: the message has %d bytes; at most %d are taken",
				i, len(r.Message), MaxTextBytes)
		}
	}
	return nil
}

// Validate checks what the types cannot express. Its errors are *BadInput.
func (m *Messages) Validate() error {
	if err := validateIncarnation(m.Incarnation); err != nil {
		return err
	}
	if len(m.Items) > MaxMessageItems {
		return bad(CodeInvalidArgument, "%d items; at most %d are taken", len(m.Items), MaxMessageItems)
	}
	total := 0
	for i, item := range m.Items {
		if item.TaskID <= 0 || item.Attempt <= 0 || item.FirstSeq <= 0 {
			return bad(CodeInvalidArgument, "items[%d]: task_id %d, attempt %d, first_seq %d; all three count from 1",
				i, item.TaskID, item.Attempt, item.FirstSeq)
		}
		if total += len(item.Messages); total > MaxMessages {
			return bad(CodeInvalidArgument, "more than %d messages in one request", MaxMessages)
		}
		for j, msg := range item.Messages {
			if len(msg.Text) > MaxTextBytes {
				return bad(CodeInvalidArgument, "items[%d].messages[%d]: the text has %d bytes; at most %d are taken",
					i, j, len(msg.Text), MaxTextBytes)
			}
		}
	}
	return nil
}
