package cluster

import (
	"fmt"
	"sync"
	"testing"
)

func TestThreeMastersBeginAndAgree(t *testing.T) {
	w := patientWorld(t)
	w.start(3)
	l := w.leader()
	w.voters(3)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			res, index, err := l.folder(bounded(t), fmt.Sprintf("f%d", i))
			if err != nil || res.Rejection != nil || res.Value == 0 || index == 0 {
				t.Errorf("proposal %d: %+v at %d: %v", i, res, index, err)
			}
		})
	}
	wg.Wait()
	res, _, err := l.folder(bounded(t), "f7")
	if err != nil || res.Rejection == nil || res.Rejection.Code != "folder_exists" {
		t.Fatalf("a second f7: %+v, %v; want the rejection as a result", res, err)
	}
	w.agree()
	must(t, l.node.Read(bounded(t)))
	for _, h := range w.except(l) {
		if err := h.node.Read(t.Context()); err == nil {
			t.Errorf("%s does not lead and lets a linearizable read pass", h.name)
		}
		must(t, h.node.Barrier(bounded(t)))
	}
}
