package registry

import (
	"strings"
	"unicode"

	"scaleout/fsm/command"
	"scaleout/fsm/sqltype"
)

// Message is one sentence: what a code of package command says, with its arguments in their places. A sentence has
//
//	{name}           the argument, quoted: whatever came from outside
//	{name!}          the argument as it is where all of it can be shown, else quoted
//	{list...}        the arguments from here on, as {name}, with commas between them
//	{list!...}       the same as {name!}; in both, a later value such as +3 says how many were left out
//	{?name|list...}  what of the list was probably meant by the name, else all of the list
type Message struct {
	Code string
	Args string // the names of the arguments, the last with ... if it takes all that follow
	Text string
	CLI  string // where the command line says it in words of its own
}

// Door is where a sentence is read.
type Door int

// The doors. Over HTTP, parameters and columns are named; the command line has flags and verbs.
const (
	HTTP Door = iota
	CLI
)

// Text is the sentence of a code. A code that this version does not know, which a newer one wrote, is shown with its
// arguments.
func Text(door Door, code string, args []string) string {
	m, ok := messages().byCode[code]
	if !ok {
		return (&command.Rejection{Code: code, Args: args}).Error()
	}
	text := m.Text
	if door == CLI && m.CLI != "" {
		text = m.CLI
	}
	return m.render(text, args)
}

// Detail is the sentence of a refusal.
func Detail(door Door, no *command.Rejection) string { return Text(door, no.Code, no.Args) }

// Limit is the setting whose limit a refusal says is reached, "" for another one.
func Limit(no *command.Rejection) string {
	if command.Family(no.Code) != command.FamilyLimitReached || len(no.Args) == 0 {
		return ""
	}
	return no.Args[0]
}

// arg finds the value of a name, or the values of a list.
func (m *Message) arg(name string, args []string) []string {
	names := strings.Fields(m.Args)
	for i, n := range names {
		list, rest := strings.CutSuffix(n, "...")
		if list != name {
			continue
		}
		switch {
		case i >= len(args):
			return nil
		case rest:
			return args[i:]
		}
		return args[i : i+1]
	}
	return nil
}

func (m *Message) render(text string, args []string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "{")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		field, after, _ := strings.Cut(rest, "}")
		text = after
		if hint, ok := strings.CutPrefix(field, "?"); ok {
			name, list, _ := strings.Cut(strings.TrimSuffix(hint, "..."), "|")
			b.WriteString(Hint(strings.Join(m.arg(name, args), ""), m.arg(list, args)))
			continue
		}
		name := strings.TrimSuffix(field, "...")
		name, plain := strings.CutSuffix(name, "!")
		for i, v := range m.arg(name, args) {
			if i > 0 {
				b.WriteString(", ")
			}
			if more, cut := strings.CutPrefix(v, "+"); cut && i > 0 && digits(more) {
				b.WriteString("and " + more + " more")
			} else if plain && shows(v) {
				b.WriteString(v)
			} else {
				b.WriteString(sqltype.Quote(v))
			}
		}
	}
}

// digits reports whether a text is a number as strconv.Itoa writes it.
func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// shows reports whether every character of a text can be seen for what it is, and none can end or reorder the sentence
// around it.
func shows(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsPrint(r) }) < 0
}
