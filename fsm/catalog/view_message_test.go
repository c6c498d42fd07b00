package catalog

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"scaleout/fsm/command"
	"scaleout/fsm/segment"
)

func TestOperationMessages(t *testing.T) {
	w := newWorld(t)
	w.deploy(project("nightly"))
	w.register(workerOne, "m1")
	first, second := w.started(bob), w.started(carol)
	w.grant(first, 1, workerOne, "m1")
	w.grant(second, 1, workerOne, "m1")
	lines := func(from, n int) []segment.Message {
		var list []segment.Message
		for i := range n {
			list = append(list, segment.Message{Time: int64(w.now) + int64(i), Type: MessageInformation, SourceType: SourceExternalProcess, Text: fmt.Sprint("line ", from+i)})
		}
		return list
	}
	w.output(workerOne, segment.Part{TaskID: first, Attempt: 1, FirstSeq: 1, Messages: lines(0, 3)}, segment.Part{TaskID: second, Attempt: 1, FirstSeq: 1, Messages: lines(0, 2)})
	w.output(workerOne, segment.Part{TaskID: first, Attempt: 1, FirstSeq: 2, Messages: lines(1, 4)}) // 1 and 2 are there already
	w.report(first, 1, workerOne, "m1", command.Failed, 3)
	read := func(caller command.Caller, order string, filter map[string]string) (texts []string) {
		for _, r := range w.query(caller, "operation_messages", Request{PageSize: 2, Order: order, Filter: filter}) {
			texts = append(texts, r["message"].(string))
		}
		return texts
	}
	of := map[string]string{"operation_id": fmt.Sprint(first)}
	want := []string{"line 0", "line 1", "line 2", "line 3", "line 4", `Attempt 1 on worker "m1" ("m1") failed with exit code 3.`}
	if got := read(bob, "", of); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	slices.Reverse(want)
	if got := read(bob, "-operation_message_id", of); !slices.Equal(got, want) {
		t.Errorf("backwards: %q", got)
	}
	if got := read(bob, "message_time", of); len(got) != 6 {
		t.Errorf("by time: %q", got)
	}
	if got := read(bob, "", nil); len(got) != 6 {
		t.Errorf("bob sees messages of others: %q", got)
	}
	if got := read(rita, "", nil); len(got) != 1+6+2 { // the deploy's note, too
		t.Errorf("a log reader sees %q", got)
	}
	if got := read(rita, "-operation_id,-operation_message_id", map[string]string{"message_source_type": "20"}); strings.Join(got, " ") != "line 1 line 0 line 4 line 3 line 2 line 1 line 0" {
		t.Errorf("all output backwards: %q", got)
	}
	if got := read(bob, "", map[string]string{"operation_id": fmt.Sprint(first), "message_type": "120"}); len(got) != 1 {
		t.Errorf("errors: %q", got)
	}
	seen := map[any]bool{}
	for _, r := range w.query(alice, "operation_messages", Request{}) {
		if seen[r["operation_message_id"]] {
			t.Errorf("operation_message_id %v stands twice", r["operation_message_id"])
		}
		seen[r["operation_message_id"]] = true
	}
}

// A page opens the segments that it shows, no others; what cannot be read is an error, not a gap.
func TestMessagesOpenFewSegments(t *testing.T) {
	w := newWorld(t)
	w.deploy(project("nightly"))
	w.register(workerOne, "m1")
	id := w.started(bob)
	w.grant(id, 1, workerOne, "m1")
	for i := range 20 {
		w.output(workerOne, segment.Part{TaskID: id, Attempt: 1, FirstSeq: int64(i) + 1, Messages: []segment.Message{{Text: fmt.Sprint("line ", i)}}})
	}
	opened := 0
	v, _ := ViewNamed("operation_messages")
	r := Request{Reader: w.state.Reader(), Caller: bob, PageSize: 5, Filter: map[string]string{"operation_id": fmt.Sprint(id)},
		Messages: counting{w, &opened}}
	var texts []string
	for {
		opened = 0
		page, err := Select(context.Background(), v, r)
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
	clear(w.blobs)
	r.PageToken = ""
	if _, err := Select(context.Background(), v, r); err == nil || !strings.Contains(err.Error(), fmt.Sprint("messages of operation ", id)) {
		t.Fatalf("a missing segment gives %v", err)
	}
	r.Messages = nil
	if _, err := Select(context.Background(), v, r); err == nil {
		t.Fatal("no reader of segments gives no error")
	}
}

type counting struct {
	MessageSource
	opened *int
}

func (c counting) OpenSegment(ctx context.Context, digest string) (io.ReadCloser, error) {
	*c.opened++
	return c.MessageSource.OpenSegment(ctx, digest)
}
