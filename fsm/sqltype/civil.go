package sqltype

import (
	"strings"
	"time"

	"scaleout/fsm/command"
)

// CivilTime is a date with a time of day as a calendar and a clock on the wall show it, without a zone: steps of 100 ns
// since the beginning of the year 1.
type CivilTime int64

// TimeOfDay is a time of day in steps of 100 ns since midnight.
type TimeOfDay int64

const (
	ticksPerSecond = 10_000_000
	ticksPerMinute = 60 * ticksPerSecond
	ticksPerDay    = 24 * 60 * ticksPerMinute
)

// civil converts the fields that t shows.
func civil(t time.Time) CivilTime {
	_, offset := t.Zone()
	const yearOneToUnix = 62135596800
	return CivilTime((t.Unix()+int64(offset)+yearOneToUnix)*ticksPerSecond + int64(t.Nanosecond())/100)
}

// Time is the date and the time of day in UTC.
func (c CivilTime) Time() time.Time {
	first := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	return time.Unix(first.Unix()+int64(c/ticksPerSecond), int64(c%ticksPerSecond)*100).UTC()
}

func date(year, month, day int) CivilTime {
	return civil(time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC))
}

// civilLimits are the first and the last value of a type whose values are CivilTime.
func civilLimits(t Type) (first, last CivilTime) {
	step := CivilTime(1)
	for range maxScale - t.Scale() {
		step *= 10
	}
	switch t.kind() {
	case kindSmallDateTime:
		return date(1900, 1, 1), date(2079, 6, 7) - ticksPerMinute
	case kindDateTime:
		return date(1753, 1, 1), date(10000, 1, 1) - 30_000
	case kindDate:
		step = ticksPerDay
	}
	return 0, date(10000, 1, 1) - step
}

// seconds is the layout of package time with n decimals of a second.
func seconds(layout string, n int) string {
	if n > 0 {
		layout += ".0000000"[:n+1]
	}
	return layout
}

// layout is how the values of a type that holds a date or a time are written.
func layout(t Type) string {
	switch t.kind() {
	case kindDate:
		return time.DateOnly
	case kindTime:
		return seconds(time.TimeOnly, t.Scale())
	case kindDateTimeOffset:
		return seconds("2006-01-02T15:04:05", t.Scale()) + "Z07:00"
	}
	return seconds("2006-01-02T15:04:05", t.Scale())
}

// readTime reads text by a layout whose seconds may have up to n decimals. It exists because package time also takes
// a comma, hours of one digit and nine decimals.
func readTime(layout, text string, n int) (time.Time, bool) {
	at, err := time.Parse(layout, text)
	step := int(time.Second)
	for range n {
		step /= 10
	}
	whole, _, _ := strings.Cut(text, ".")
	fits := len(whole) == len(layout) || len(text) >= len("2006-01-02T15:04:05Z") && text[13] == ':'
	return at, err == nil && at.Nanosecond()%step == 0 && fits && !strings.Contains(text, ",")
}

func parseTimeOfDay(t Type, text string) (any, error) {
	at, ok := readTime(time.TimeOnly, text, t.Scale())
	if !ok {
		return nil, misfit(t, text, wanted(t))
	}
	return TimeOfDay(civil(at) - date(0, 1, 1)), nil
}

// parseCivil reads a date, for the types with a time of day also followed by one after T or a blank. What a type cannot
// hold is refused, but for smalldatetime and datetime, whose steps are rounded to as SQL Server does.
func parseCivil(t Type, text string) (any, error) {
	form, decimals := time.DateOnly, t.Scale()
	if t.kind() != kindDate && len(text) > len(time.DateOnly) {
		form = "2006-01-02T15:04:05"
		if text[len(time.DateOnly)] == ' ' {
			form = time.DateTime
		}
		if t.kind() == kindSmallDateTime {
			decimals = 3
		}
	}
	at, ok := readTime(form, text, decimals)
	if !ok {
		return nil, misfit(t, text, wanted(t))
	}
	c := roundCivil(t, civil(at))
	if first, last := civilLimits(t); c < first || c > last {
		return nil, misfit(t, text, wanted(t))
	}
	return c, nil
}

// roundCivil rounds to the minutes of smalldatetime, where 29.999 s go up, and to the .000, .003 and .007 of datetime.
func roundCivil(t Type, c CivilTime) CivilTime {
	switch t.kind() {
	case kindSmallDateTime:
		rest := c % ticksPerMinute
		if c -= rest; rest >= 29_999*(ticksPerSecond/1000) {
			c += ticksPerMinute
		}
	case kindDateTime:
		last := c / 10_000 % 10
		c += CivilTime([10]int{0, -1, 1, 0, -1, 2, 1, 0, -1, 1}[last]) * 10_000
	}
	return c
}

// The instants that command.Time can hold.
var (
	firstInstant = time.Date(1678, 1, 1, 0, 0, 0, 0, time.UTC)
	lastInstant  = time.Date(2262, 1, 1, 0, 0, 0, 0, time.UTC)
)

func parseInstant(t Type, text string) (any, error) {
	at, ok := readTime("2006-01-02T15:04:05Z07:00", text, t.Scale())
	if !ok || at.Before(firstInstant) || !at.Before(lastInstant) {
		return nil, misfit(t, text, wanted(t))
	}
	return command.Time(at.UnixNano()), nil
}

// instant is the UTC time of a command.Time, of which zero is the beginning of 1970 here.
func instant(v command.Time) time.Time { return time.Unix(0, int64(v)).UTC() }
