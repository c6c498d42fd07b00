package view_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/fsmtest"
	"scaleout/fsm/segment"
	"scaleout/fsm/view"
)

func TestOperationMessages(t *testing.T) {
	w := fsmtest.NewWorld(t)
	w.Deploy(fsmtest.Project("nightly"))
	w.Register(fsmtest.WorkerOne, "m1")
	first, second := w.Started(fsmtest.Bob), w.Started(fsmtest.Carol)
	w.Grant(first, 1, fsmtest.WorkerOne, "m1")
	w.Grant(second, 1, fsmtest.WorkerOne, "m1")
	lines := func(from, n int) []segment.Message {
		var list []segment.Message
		for i := range n {
			list = append(list, segment.Message{Time: int64(w.Now) + int64(i), Type: catalog.MessageInformation,
				SourceType: 20, Text: fmt.Sprint("line ", from+i)})
		}
		return list
	}
	w.Output(fsmtest.WorkerOne, segment.Part{TaskID: first, Attempt: 1, FirstSeq: 1, Messages: lines(0, 3)},
		segment.Part{TaskID: second, Attempt: 1, FirstSeq: 1, Messages: lines(0, 2)})
	// 1 and 2 are there already
	w.Output(fsmtest.WorkerOne, segment.Part{TaskID: first, Attempt: 1, FirstSeq: 2, Messages: lines(1, 4)})
	w.Report(first, 1, fsmtest.WorkerOne, "m1", command.Failed, 3)
	const end = `Attempt 1 on worker "m1" ("m1") failed with exit code 3.`
	const forward = "line 0|line 1|line 2|line 3|line 4|" + end
	of := []string{"operation_id", fmt.Sprint(first)}
	for _, c := range []struct {
		name   string
		caller command.Caller
		order  string
		where  []string
		want   string // the texts; "6": so many
	}{
		{"of one operation", fsmtest.Bob, "", of, forward},
		{"backwards", fsmtest.Bob, "-operation_message_id", of, end + "|line 4|line 3|line 2|line 1|line 0"},
		{"by time", fsmtest.Bob, "message_time", of, "6"},
		{"without a filter, and nobody else's", fsmtest.Bob, "", nil, forward},
		{"another caller's", fsmtest.Carol, "", nil, "line 0|line 1"},
		{"a log reader sees the deployment's note too", fsmtest.Rita, "", nil, "9"},
		{"all output backwards", fsmtest.Rita, "-operation_id,-operation_message_id",
			[]string{"message_source_type", "20"}, "line 1|line 0|line 4|line 3|line 2|line 1|line 0"},
		{"errors", fsmtest.Bob, "", append(of, "message_type", "120"), end},
	} {
		t.Run(c.name, func(t *testing.T) {
			var texts []string
			for _, r := range w.Query(c.caller, "operation_messages",
				view.Request{PageSize: 2, Order: c.order, Where: fsmtest.Where(c.where...)}) {
				texts = append(texts, r["message"].(string))
			}
			if got := strings.Join(texts, "|"); got != c.want && fmt.Sprint(len(texts)) != c.want {
				t.Errorf("%d messages: %s", len(texts), got)
			}
		})
	}
	seen := map[any]bool{}
	for _, r := range w.Query(fsmtest.Alice, "operation_messages", view.Request{}) {
		if seen[r["operation_message_id"]] {
			t.Errorf("operation_message_id %v stands twice", r["operation_message_id"])
		}
		seen[r["operation_message_id"]] = true
	}
}

// A page opens the segments that it shows, no others.
func TestMessagesOpenFewSegments(t *testing.T) {
	w := fsmtest.NewWorld(t)
	w.Deploy(fsmtest.Project("nightly"))
	w.Register(fsmtest.WorkerOne, "m1")
	id := w.Started(fsmtest.Bob)
	w.Grant(id, 1, fsmtest.WorkerOne, "m1")
	for i := range 20 {
		w.Output(fsmtest.WorkerOne, segment.Part{TaskID: id, Attempt: 1, FirstSeq: int64(i) + 1,
			Messages: []segment.Message{{Text: fmt.Sprint("line ", i)}}})
	}
	opened := 0
	v, _ := view.Named("operation_messages")
	r := view.Request{Reader: w.State.Reader(), Caller: fsmtest.Bob, PageSize: 5,
		Where:    fsmtest.Where("operation_id", fmt.Sprint(id)),
		Messages: counting{w, &opened}}
	var texts []string
	for {
		opened = 0
		page, err := view.Select(context.Background(), v, r)
		if err != nil {
			t.Fatal(err)
		}
		if opened > 6 {
			t.Fatalf("a page of 5 messages opened %d segments", opened)
		}
		for _, row := range page.Rows {
			texts = append(texts, row[5].(string))
		}
		if r.PageToken = page.NextPageToken; r.PageToken == "" {
			break
		}
	}
	if len(texts) != 20 || texts[19] != "line 19" {
		t.Fatalf("got %q", texts)
	}
}

// What cannot be read is an error, not a gap.
func TestMessagesThatCannotBeRead(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*fsmtest.World, *view.Request)
		says  string
	}{
		"a missing segment":     {func(w *fsmtest.World, _ *view.Request) { clear(w.Blobs) }, "messages of operation "},
		"no reader of segments": {func(_ *fsmtest.World, r *view.Request) { r.Messages = nil }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := fsmtest.NewWorld(t)
			w.Deploy(fsmtest.Project("nightly"))
			w.Register(fsmtest.WorkerOne, "m1")
			id := w.Started(fsmtest.Bob)
			w.Grant(id, 1, fsmtest.WorkerOne, "m1")
			w.Output(fsmtest.WorkerOne, segment.Part{TaskID: id, Attempt: 1, FirstSeq: 1,
				Messages: []segment.Message{{Text: "line"}}})
			v, _ := view.Named("operation_messages")
			r := view.Request{Reader: w.State.Reader(), Caller: fsmtest.Bob, Messages: w,
				Where: fsmtest.Where("operation_id", fmt.Sprint(id))}
			if _, err := view.Select(t.Context(), v, r); err != nil {
				t.Fatal(err)
			}
			c.spoil(w, &r)
			if _, err := view.Select(t.Context(), v, r); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want an error with %q", err, c.says)
			}
		})
	}
}

type counting struct {
	view.MessageSource
	opened *int
}

func (c counting) OpenSegment(ctx context.Context, digest string) (io.ReadCloser, error) {
	*c.opened++
	return c.MessageSource.OpenSegment(ctx, digest)
}
