package wire

import (
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Bounds of what one request may carry.
const (
	MaxAttempts     = 10_000 // in one list of one exchange or registration
	MaxMessages     = 10_000 // in one messages request
	MaxMessageItems = 1_000

	MaxAttemptMessages = 1 << 40  // of one attempt, by its report
	MaxTextBytes       = 64 << 10 // of one message or one final report
	MaxNameBytes       = 512      // of one name in a registration
	MaxWaitMs          = 10 * 60 * 1000

	maxDescription = 256 // characters of a worker's, as the catalog's column holds
	maxExtensions  = 64  // that one worker runs
)

// hidden reports whether a character shows as nothing, or changes how what is around it shows.
func hidden(r rune) bool { return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) }

// notOfExtension reports whether a character has no place in an extension, which is told in lists and looked up by name.
func notOfExtension(r rune) bool {
	return !unicode.In(r, unicode.L, unicode.M, unicode.Nd) && !strings.ContainsRune("_-+~$", r)
}

func utf16Units(s string) int { return len(utf16.Encode([]rune(s))) }

// Validate checks what the types cannot say. Its errors are *BadInput.
func (r *Register) Validate() error {
	required := []struct{ name, value string }{
		{"agent_id", r.AgentID}, {"instance", r.Instance}, {"machine_id", r.MachineID}, {"boot_id", r.BootID},
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
			if n := utf16Units(f.value); n > maxDescription {
				return bad(CodeInvalidArgument, "%s has %d characters; at most %d are taken", f.name, n, maxDescription)
			}
			continue // a text, not a name
		}
		if len(f.value) > MaxNameBytes {
			return bad(CodeInvalidArgument, "%s has %d bytes; at most %d are taken", f.name, len(f.value), MaxNameBytes)
		}
		if at := strings.IndexFunc(f.value, hidden); at >= 0 {
			r, _ := utf8.DecodeRuneInString(f.value[at:])
			return bad(CodeInvalidArgument, "%s: %.80q contains the character %q; control and format characters are not allowed in names", f.name, f.value, r)
		}
	}
	numbers := []struct {
		name  string
		value int64
	}{
		{"max_task_count", int64(r.MaxTaskCount)}, {"lease_ms", r.LeaseMs}, {"task_heartbeat_ms", r.TaskHeartbeatMs},
		{"agent_heartbeat_ms", r.AgentHeartbeatMs}, {"error_tolerance_ms", r.ErrorToleranceMs},
	}
	const most = int64(1) << 40 // far beyond any sensible setting, far below an overflow of a duration
	for _, f := range numbers {
		if f.value <= 0 || f.value > most {
			return bad(CodeInvalidArgument, "%s is %d; a number from 1 to %d was expected", f.name, f.value, most)
		}
	}
	if len(r.Extensions) > maxExtensions || len(r.Bitness) > 8 {
		return bad(CodeInvalidArgument, "%d extensions and %d bitness values; at most %d and 8 are taken", len(r.Extensions), len(r.Bitness), maxExtensions)
	}
	for _, e := range r.Extensions {
		if len(e) < 2 || len(e) > 32 || e[0] != '.' || strings.ContainsFunc(e[1:], notOfExtension) {
			return bad(CodeInvalidArgument, "extensions: %q; something like \".dtsx\" was expected", e)
		}
	}
	for _, b := range r.Bitness {
		if b != 32 && b != 64 {
			return bad(CodeInvalidArgument, "bitness: %d; 32 or 64 was expected", b)
		}
	}
	return attempts(r.Running, r.Ended)
}

// Validate checks what the types cannot say. Its errors are *BadInput.
func (e *Exchange) Validate() error {
	if e.Instance == "" || len(e.Instance) > MaxNameBytes {
		return bad(CodeInvalidArgument, "instance has %d bytes; 1 to %d were expected", len(e.Instance), MaxNameBytes)
	}
	if e.WaitMs < 0 || e.WaitMs > MaxWaitMs {
		return bad(CodeInvalidArgument, "wait_ms is %d; 0 to %d was expected", e.WaitMs, MaxWaitMs)
	}
	if e.Slots < 0 || e.Slots > MaxAttempts {
		return bad(CodeInvalidArgument, "slots is %d; 0 to %d was expected", e.Slots, MaxAttempts)
	}
	return attempts(e.Running, e.Ended)
}

func attempts(running []AttemptRef, ended []Ended) error {
	if len(running) > MaxAttempts || len(ended) > MaxAttempts {
		return bad(CodeInvalidArgument, "%d running and %d ended attempts; at most %d of each are taken", len(running), len(ended), MaxAttempts)
	}
	seen := make(map[AttemptRef]string, len(running)+len(ended))
	one := func(list string, i int, ref AttemptRef) error {
		if ref.TaskID <= 0 || ref.Attempt <= 0 {
			return bad(CodeInvalidArgument, "%s[%d]: task_id %d, attempt %d; both count from 1", list, i, ref.TaskID, ref.Attempt)
		}
		if before, double := seen[ref]; double {
			return bad(CodeInvalidArgument, "%s[%d]: attempt %d of task %d stands in %s already", list, i, ref.Attempt, ref.TaskID, before)
		}
		seen[ref] = list
		return nil
	}
	for i, r := range running {
		if err := one("running", i, r); err != nil {
			return err
		}
	}
	for i, r := range ended {
		if err := one("ended", i, AttemptRef{r.TaskID, r.Attempt}); err != nil {
			return err
		}
		switch r.Outcome {
		case OutcomeSucceeded, OutcomeFailed, OutcomeCanceled, OutcomeReturned:
		default:
			return bad(CodeInvalidArgument, "ended[%d]: outcome %.64q; succeeded, failed, canceled or returned was expected", i, r.Outcome)
		}
		if r.Code != "" && r.Code != EndedRunTimeout {
			return bad(CodeInvalidArgument, "ended[%d]: code %.64q; %s or nothing was expected", i, r.Code, EndedRunTimeout)
		}
		if r.Messages < 0 || r.Messages > MaxAttemptMessages {
			return bad(CodeInvalidArgument, "ended[%d]: %d messages; 0 to %d was expected", i, r.Messages, MaxAttemptMessages)
		}
		if len(r.Message) > MaxTextBytes {
			return bad(CodeInvalidArgument, "ended[%d]: the message has %d bytes; at most %d are taken", i, len(r.Message), MaxTextBytes)
		}
	}
	return nil
}

// Validate checks what the types cannot say. Its errors are *BadInput.
func (m *Messages) Validate() error {
	if m.Instance == "" || len(m.Instance) > MaxNameBytes {
		return bad(CodeInvalidArgument, "instance has %d bytes; 1 to %d were expected", len(m.Instance), MaxNameBytes)
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
		for j, one := range item.Messages {
			if len(one.Text) > MaxTextBytes {
				return bad(CodeInvalidArgument, "items[%d].messages[%d]: the text has %d bytes; at most %d are taken", i, j, len(one.Text), MaxTextBytes)
			}
		}
	}
	return nil
}
