package view_test

import (
	"context"
	"fmt"
	"io"
	"slices"
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
				SourceType: catalog.SourceExternalProcess, Text: fmt.Sprint("line ", from+i)})
		}
		return list
	}
	w.Output(fsmtest.WorkerOne, segment.Part{TaskID: first, Attempt: 1, FirstSeq: 1, Messages: lines(0, 3)},
		segment.Part{TaskID: second, Attempt: 1, FirstSeq: 1, Messages: lines(0, 2)})
	// 1 and 2 are there already
	w.Output(fsmtest.WorkerOne, segment.Part{TaskID: first, Attempt: 1, FirstSeq: 2, Messages: lines(1, 4)})
	w.Report(first, 1, fsmtest.WorkerOne, "m1", command.Failed, 3)
	read := func(caller command.Caller, order string, filter ...string) (texts []string) {
		for _, r := range w.Query(caller, "operation_messages",
			view.Request{PageSize: 2, Order: order, Where: fsmtest.Where(filter...)}) {
			texts = append(texts, r["message"].(string))
		}
		return texts
	}
	of := []string{"operation_id", fmt.Sprint(first)}
	want := []string{"line 0", "line 1", "line 2", "line 3", "line 4",
		`Attempt 1 on worker "m1" ("m1") failed with exit code 3.`}
	if got := read(fsmtest.Bob, "", of...); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	slices.Reverse(want)
	if got := read(fsmtest.Bob, "-operation_message_id", of...); !slices.Equal(got, want) {
		t.Errorf("backwards: %q", got)
	}
	if got := read(fsmtest.Bob, "message_time", of...); len(got) != 6 {
		t.Errorf("by time: %q", got)
	}
	if got := read(fsmtest.Bob, ""); len(got) != 6 {
		t.Errorf("bob sees messages of others: %q", got)
	}
	if got := read(fsmtest.Rita, ""); len(got) != 1+6+2 { // the deploy's note, too
		t.Errorf("a log reader sees %q", got)
	}
	if got := read(fsmtest.Rita, "-operation_id,-operation_message_id",
		"message_source_type", "20"); strings.Join(got, " ") !=
		"line 1 line 0 line 4 line 3 line 2 line 1 line 0" {
		t.Errorf("all output backwards: %q", got)
	}
	if got := read(fsmtest.Bob, "", "operation_id", fmt.Sprint(first),
		"message_type", "120"); len(got) != 1 {
		t.Errorf("errors: %q", got)
	}
	seen := map[any]bool{}
	for _, r := range w.Query(fsmtest.Alice, "operation_messages", view.Request{}) {
		if seen[r["operation_message_id"]] {
			t.Errorf("operation_message_id %v stands twice", r["operation_message_id"])
		}
		seen[r["operation_message_id"]] = true
	}
}

// A page opens the segments that it shows, no others; what cannot be read is an error, not a gap.
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
	clear(w.Blobs)
	r.PageToken = ""
	if _, err := view.Select(context.Background(), v, r); err == nil ||
		!strings.Contains(err.Error(), fmt.Sprint("messages of operation ", id)) {
		t.Fatalf("a missing segment gives %v", err)
	}
	r.Messages = nil
	if _, err := view.Select(context.Background(), v, r); err == nil {
		t.Fatal("no reader of segments gives no error")
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
