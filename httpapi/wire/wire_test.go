package wire

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"scaleout/fsm/command"
)

func TestDecodeIsStrict(t *testing.T) {
	for _, c := range []struct {
		name, body, code, says string
	}{
		{"empty", ``, CodeInvalidJSON, "empty"},
		{"list", `[]`, CodeInvalidJSON, `'['`},
		{"null", `null`, CodeInvalidJSON, "object"},
		{"cut off", `{"instance":"a`, CodeInvalidJSON, "before it is complete"},
		{"unknown field", `{"instance":"a","sloots":1}`, CodeUnknownField, `"sloots"`},
		{"unknown field inside", `{"instance":"a","running":[{"task":1}]}`, CodeUnknownField, `"task"`},
		{"trailing", `{"instance":"a"} {}`, CodeTrailingData, "follows"},
		{"trailing text", `{"instance":"a"}x`, CodeTrailingData, "follows"},
		{"type", `{"instance":"a","slots":"many"}`, CodeInvalidArgument, "slots"},
		{"fraction", `{"instance":"a","slots":1.5}`, CodeInvalidArgument, "slots"},
		{"overflow", `{"instance":"a","sequence":-1}`, CodeInvalidArgument, "sequence"},
		{"deep", `{"running":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, CodeTooDeep, "32"},
		{"many values", `{"running":[` + strings.Repeat("{},", MaxValues) + `{}]}`, CodeTooManyValues, "100000"},
		{"syntax", `{"instance":a}`, CodeInvalidJSON, "byte"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var e Exchange
			err := Decode(strings.NewReader(c.body), 1<<20, &e)
			var bad *BadInput
			if !errors.As(err, &bad) || bad.Code != c.code || !strings.Contains(bad.Detail, c.says) {
				t.Fatalf("got %v, want %s saying %s", err, c.code, c.says)
			}
		})
	}
	var bad *BadInput
	body := `{"instance":"` + strings.Repeat("x", 100) + `"}`
	if err := Decode(strings.NewReader(body), int64(len(body))-1, new(Exchange)); !errors.As(err, &bad) ||
		bad.Code != CodeBodyTooLarge {
		t.Fatalf("one byte too many: %v", err)
	}
	if err := Decode(strings.NewReader(body), int64(len(body)), new(Exchange)); err != nil {
		t.Fatalf("exactly as large as allowed: %v", err)
	}
}

func TestBracesInStringsDoNotNest(t *testing.T) {
	var e Exchange
	if err := Unmarshal([]byte(`{"instance":"`+strings.Repeat(`{[\"`, 50)+`"}`), &e); err != nil {
		t.Fatal(err)
	}
}

func TestValidateRegister(t *testing.T) {
	good := func() Register {
		return Register{
			AgentID: "a", Incarnation: "i", MachineID: "m", BootID: "b", MaxTaskCount: 1, LeaseMs: 1, TaskHeartbeatMs: 1,
			AgentHeartbeatMs: 1, ErrorToleranceMs: 1, Extensions: []string{".sh"}, Bitness: []int{64},
		}
	}
	g := good()
	if err := g.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Register){
		"agent_id":             func(r *Register) { r.AgentID = "" },
		"boot_id":              func(r *Register) { r.BootID = "" },
		"machine_name":         func(r *Register) { r.MachineName = strings.Repeat("x", MaxNameBytes+1) },
		"lease_ms":             func(r *Register) { r.LeaseMs = 0 },
		"max_task_count":       func(r *Register) { r.MaxTaskCount = -1 },
		`extensions: ".\x1b`:   func(r *Register) { r.Extensions = []string{".\x1b[31m"} },
		`extensions: ".\u202e`: func(r *Register) { r.Extensions = []string{".\u202ehs"} },
		`extensions: ".sh,`:    func(r *Register) { r.Extensions = []string{".sh,.py"} },
		"extensions":           func(r *Register) { r.Extensions = []string{"sh"} },
		"display_name":         func(r *Register) { r.DisplayName = "etl-1\u202e" },
		"user_account":         func(r *Register) { r.UserAccount = "\x1b[2J" },
		"version":              func(r *Register) { r.Version = "1\u009b" },
		"description":          func(r *Register) { r.Description = strings.Repeat("x", 257) },
		"65 extensions":        func(r *Register) { r.Extensions = make([]string, 65) },
		"bitness":              func(r *Register) { r.Bitness = []int{16} },
		"running[1]":           func(r *Register) { r.Running = []AttemptRef{{1, 1}, {1, 1}} },
		"ended[0]":             func(r *Register) { r.Ended = []Ended{{TaskID: 1, Attempt: 1, Outcome: "done"}} },
		"ended[0]: task":       func(r *Register) { r.Ended = []Ended{{Outcome: OutcomeFailed}} },
		"ended[0]: -1 messages": func(r *Register) {
			r.Ended = []Ended{{TaskID: 1, Attempt: 1, Outcome: OutcomeFailed, Messages: -1}}
		},
		"ended[0]: 1099511627777 messages": func(r *Register) {
			r.Ended = []Ended{{TaskID: 1, Attempt: 1, Outcome: OutcomeFailed, Messages: command.MaxAttemptMessages + 1}}
		},
		`ended[0]: code "bored"`: func(r *Register) {
			r.Ended = []Ended{{TaskID: 1, Attempt: 1, Outcome: OutcomeFailed, Code: "bored"}}
		},
		"ended[0]: attem": func(r *Register) {
			r.Running, r.Ended = []AttemptRef{{1, 1}}, []Ended{{TaskID: 1, Attempt: 1, Outcome: OutcomeFailed}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := good()
			spoil(&r)
			var bad *BadInput
			if err := r.Validate(); !errors.As(err, &bad) || bad.Code != CodeInvalidArgument ||
				!strings.HasPrefix(bad.Detail, name) {
				t.Error(err)
			}
		})
	}
}

func TestValidateExchange(t *testing.T) {
	for name, x := range map[string]Exchange{
		"instance": {},
		"wait_ms":  {Incarnation: "i", WaitMs: -1},
		"slots":    {Incarnation: "i", Slots: -1},
	} {
		t.Run(name, func(t *testing.T) {
			if err := x.Validate(); err == nil || !strings.Contains(err.Error(), name) {
				t.Error(err)
			}
		})
	}
}

func TestValidateMessages(t *testing.T) {
	item := func(change func(*MessagesItem)) Messages {
		i := MessagesItem{TaskID: 1, Attempt: 1, FirstSeq: 1, Messages: []Message{{Text: "x"}}}
		change(&i)
		return Messages{Incarnation: "i", Items: []MessagesItem{i}}
	}
	good := item(func(*MessagesItem) {})
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		m    Messages
		says string
	}{
		{"no instance", Messages{}, "instance"},
		{"too many items", Messages{Incarnation: "i", Items: make([]MessagesItem, MaxMessageItems+1)}, "1001 items"},
		{"no task", item(func(i *MessagesItem) { i.TaskID = 0 }), "items[0]: task_id 0"},
		{"no sequence number", item(func(i *MessagesItem) { i.FirstSeq = 0 }), "first_seq 0"},
		{"too many messages", item(func(i *MessagesItem) { i.Messages = make([]Message, MaxMessages+1) }), "10000 messages"},
		{"a long text", item(func(i *MessagesItem) { i.Messages[0].Text = strings.Repeat("x", MaxTextBytes+1) }),
			"items[0].messages[0]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := test.m.Validate(); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%v, want one that says %q", err, test.says)
			}
		})
	}
}

func TestCallerHeader(t *testing.T) {
	c := Caller{Kind: "user", Name: "Zoë\r\nX: y", Roles: []string{"ssis_admin"}}
	s := EncodeCaller(c)
	if strings.ContainsAny(s, "\r\n \t,;") {
		t.Fatalf("%q is no header value", s)
	}
	if got, err := DecodeCaller(s); err != nil || !reflect.DeepEqual(got, c) {
		t.Fatalf("got %v, %v", got, err)
	}
	for _, test := range []struct{ name, header string }{
		{"empty", ""}, {"not base64", "!"}, {"no name", EncodeCaller(Caller{Kind: "user"})}, {"an empty object", "e30"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if c, err := DecodeCaller(test.header); err == nil {
				t.Errorf("%q decoded to %v", test.header, c)
			}
		})
	}
}

func TestGrantKeepsItsSecrets(t *testing.T) {
	g := Grant{Package: "p.sh", ProjectPassword: "hush", Parameters: []Parameter{{Value: "hush"}}}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("with", "grant", g, "answer", ExchangeAnswer{Grants: []Grant{g}})
	slog.New(slog.NewJSONHandler(&log, nil)).Info("with", "grant", g)
	shown := map[string]string{"String": g.String(), "slog": log.String()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		shown[verb] = fmt.Sprintf(verb, g) + fmt.Sprintf(verb, ExchangeAnswer{Grants: []Grant{g}})
	}
	for how, text := range shown {
		if strings.Contains(text, "hush") || strings.Contains(text, "68757368") {
			t.Errorf("%s shows a secret: %s", how, text)
		}
	}
}

func FuzzExchange(f *testing.F) {
	f.Add(
		[]byte(
			`{"instance":"a","sequence":1,"wait_ms":1000,"slots":2,"running":[{"task_id":1,"attempt":1}],"ended":[{"task_id":2,"attempt":1,"outcome":"failed","exit_code":3,"message":"m"}]}`,
		),
	)
	f.Add([]byte(`{"instance":"a","running":[{"task_id":9223372036854775807,"attempt":1}]}`))
	f.Add([]byte(`{"instance":1e999}`))
	f.Add([]byte(`{}{}`))
	f.Add([]byte(`null`))
	f.Add([]byte(`{"a":[[[[[[`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var e Exchange
		err := Unmarshal(b, &e)
		if err == nil {
			err = e.Validate()
		}
		var bad *BadInput
		if err != nil && !errors.As(err, &bad) {
			t.Fatalf("%T: %v", err, err)
		}
		if err != nil {
			return
		}
		// What was accepted obeys the bounds that the leader relies on.
		if e.Incarnation == "" || e.Slots < 0 || e.WaitMs < 0 || e.WaitMs > MaxWaitMs {
			t.Fatalf("accepted %+v", e)
		}
		for _, r := range e.Running {
			if r.TaskID <= 0 || r.Attempt <= 0 {
				t.Fatalf("accepted %+v", r)
			}
		}
	})
}
