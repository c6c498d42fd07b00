package show

import (
	"fmt"
	"time"
)

// Clock is how times are shown.
type Clock int

// Ways to show a time.
const (
	UTC      Clock = iota // 2026-01-31T02:03:04Z
	Local                 // 2026-01-31 03:03:04, by this machine's time zone
	Relative              // 3 min ago; a date when it is long ago
)

// Time is at as a person reads it; "" for the zero time.
func (c Clock) Time(at, now time.Time) string {
	if at.IsZero() {
		return ""
	}
	switch c {
	case Local:
		return at.Local().Format(time.DateTime)
	case Relative:
		return relative(at, now)
	}
	return at.UTC().Format(time.RFC3339)
}

func relative(at, now time.Time) string {
	switch d := now.Sub(at); {
	case d.Abs() < time.Second:
		return "now"
	case d.Abs() >= 60*24*time.Hour:
		return at.Local().Format(time.DateOnly)
	case d < 0:
		return "in " + Span(-d)
	default:
		return Span(d) + " ago"
	}
}

// Span is a length of time in one unit, cut: "3 min", "47 h", "2 days".
func Span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d/time.Second))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d/time.Minute))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d/time.Hour))
	}
	return fmt.Sprintf("%d days", int(d/(24*time.Hour)))
}
