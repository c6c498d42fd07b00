package testcluster_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"scaleout/httpapi/client"
	"scaleout/testcluster"
)

// A reader of an execution's messages right after its end learns whether they are complete. When they are, all messages
// are there, in order, before the message about the end.
func TestMessagesAreCompleteWhenTheySaySo(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	t.Parallel()
	const rounds, lines = 30, 400
	c := testcluster.Start(t, 3)
	s := deployScripts(t, c,
		map[string]string{"chatty.sh": fmt.Sprintf("i=0; while [ $i -lt %d ]; do i=$((i+1)); echo line $i; done; exit 3\n",
			lines)})
	c.Worker(testcluster.WorkerConfig{MaxTaskCount: 4})
	for round := range rounds {
		id := s.start("chatty.sh", 0)
		c.WaitStatus(id, 30*time.Second, 4)
		c.Eventually("the messages are complete", 30*time.Second, func() bool {
			page, err := c.Admin().View(t.Context(), "operation_messages",
				client.Query{Equal: map[string]any{"operation_id": id}, PageSize: 1})
			if err != nil {
				return false
			}
			if page.Messages == nil || !page.Messages.Ended {
				t.Fatalf("an ended execution's messages: %+v", page.Messages)
			}
			return page.Messages.Complete
		})
		var got []string
		for m, err := range c.Admin().Rows(t.Context(), "operation_messages",
			client.Query{Equal: map[string]any{"operation_id": id}}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, m.Text("message"))
		}
		for i := range lines {
			if i >= len(got) || got[i] != fmt.Sprint("line ", i+1) {
				t.Fatalf("round %d: message %d of %d is not line %d: %.200q", round, i, len(got), i+1, got)
			}
		}
		if last := got[len(got)-1]; !strings.Contains(last, "failed with exit code 3") {
			t.Errorf("round %d: the last message is %q", round, last)
		}
	}
}
