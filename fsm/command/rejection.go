package command

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Rejection is a refusal: a code and the values that it is about, in the order in which package registry names them. It
// holds no sentence, so that the words for it may change while states and kept answers stay equal. It is an error so
// that doors can return it as it is.
type Rejection struct {
	Code string   `cbor:"1,keyasint"`
	Args []string `cbor:"2,keyasint,omitempty"`
}

// Refuse makes a refusal. A list, which must stand last, becomes as many arguments as it has values.
func Refuse(code string, args ...any) *Rejection {
	return &Rejection{Code: code, Args: Arguments(args...)}
}

// mostArgument bounds one argument, in bytes: what a caller sent stands in the state only as far as a person reads it.
const mostArgument = 300

func clip(s string) string {
	if len(s) <= mostArgument {
		return s
	}
	cut := mostArgument
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// Arguments are the values of a refusal or a note as the state keeps them: the same on every node.
func Arguments(args ...any) []string {
	var list []string
	for _, a := range args {
		switch a := a.(type) {
		case string:
			list = append(list, clip(a))
		case []string:
			for _, s := range a {
				list = append(list, clip(s))
			}
		case int:
			list = append(list, strconv.Itoa(a))
		case int64:
			list = append(list, strconv.FormatInt(a, 10))
		case bool:
			list = append(list, strconv.FormatBool(a))
		case Time:
			list = append(list, a.Time().Format(time.RFC3339))
		case Outcome:
			list = append(list, string(a))
		case fmt.Stringer: // of a plain number or a duration
			list = append(list, a.String())
		default:
			panic(fmt.Sprintf("command: %T is no argument of a refusal", a)) // a mistake in the caller, whatever the data
		}
	}
	return list
}

// Families of which there is no code without a dot.
const (
	FamilyInvalidArgument  = "invalid_argument"
	FamilyInvalidName      = "invalid_name"
	FamilyPermissionDenied = "permission_denied"
	FamilyLimitReached     = "limit_reached"
	FamilyFenced           = "fenced"
	FamilyNotEligible      = "not_eligible"
)

// Family is the part of a code that callers see.
func Family(code string) string {
	family, _, _ := strings.Cut(code, ".")
	return family
}

// Error is the code with its arguments, for a log; doors render a sentence instead.
func (r *Rejection) Error() string {
	var b strings.Builder
	b.WriteString(r.Code)
	for _, a := range r.Args {
		b.WriteByte(' ')
		b.WriteString(strconv.QuoteToGraphic(a))
	}
	return b.String()
}
