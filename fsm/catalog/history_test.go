package catalog

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"scaleout/fsm/command"
)

func ended(id, project int64, status Status, at command.Time) *Execution {
	return &Execution{ID: id, ProjectID: project, Status: status, Ended: at,
		Attempts: []Attempt{{Number: 1, Outcome: command.Succeeded}}}
}

// Executions of few projects end in any order and are removed oldest first; the lists are what a plain sort says.
func TestPostings(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := NewState()
		n := rapid.IntRange(1, 3000).Draw(rt, "n")
		step := int64(rapid.SampledFrom([]int{1, 7, 611, 1999}).Draw(rt, "step"))
		projects := int64(rapid.IntRange(1, 3).Draw(rt, "projects"))
		byProject := map[int64][]int64{}
		var sequence []*Execution
		taken := map[int64]bool{}
		id := int64(1)
		for i := range n {
			id = (id+step)%int64(n) + 1
			for taken[id] {
				id = id%int64(n) + 1
			}
			taken[id] = true
			status := Succeeded
			if id%3 == 0 {
				status = Failed
			}
			x := ended(id, id%projects, status, command.Time(i+1))
			s.begin()
			e := s.edit(ada)
			e.add(tableHistory, newRecord(x))
			e.enlist(s.working(), x)
			s.write(e)
			if s.changes > commitRows {
				s.commit()
			}
			sequence = append(sequence, x)
		}
		gone := rapid.IntRange(0, n).Draw(rt, "gone")
		for _, x := range sequence[:gone] {
			s.begin()
			e := s.edit(ada)
			e.remove(tableHistory, newRecord(x))
			e.delist(s.working(), x)
			s.write(e)
		}
		s.Commit(1)
		var failed []int64
		for _, x := range sequence[gone:] {
			byProject[x.ProjectID] = append(byProject[x.ProjectID], x.ID)
			if x.Status != Succeeded {
				failed = append(failed, x.ID)
			}
		}
		r := s.Reader()
		if got := idsOf(r.Unsuccessful(false)); !slices.Equal(got, failed) {
			rt.Fatalf("unsuccessful ones: %v, want %v", got, failed)
		}
		for project := range projects {
			want := byProject[project]
			slices.Sort(want)
			if got := idsOf(r.ExecutionsOf(project, false)); !slices.Equal(got, want) {
				rt.Fatalf("project %d: %v, want %v", project, got, want)
			}
			slices.Reverse(want)
			if got := idsOf(r.ExecutionsOf(project, true)); !slices.Equal(got, want) {
				rt.Fatalf("project %d backwards: %v, want %v", project, got, want)
			}
		}
		rows, listed := 0, 0
		for p := range rowsBy[*posting](r, tablePostings, byID, nil, false) {
			rows++
			listed += p.N
			if p.List == listProject && p.ids()[0] < p.Low {
				rt.Fatalf("a row from %d holds %d", p.Low, p.ids()[0])
			}
		}
		if want := 2*(n-gone) + len(failed); listed != want {
			rt.Fatalf("%d ids are listed, want %d: removed ones stay behind", listed, want)
		}
		if most := 10 + 12*n/postingSize; rows > most {
			rt.Fatalf("%d rows of postings for %d executions", rows, n)
		}
	})
}

func TestExecutionsMergeLiveAndHistory(t *testing.T) {
	w := ready(t)
	var all []int64
	for i := range 12 {
		id := w.create("Load.dtsx")
		all = append(all, id)
		if i%3 == 1 {
			w.ok(&command.StopOperation{OperationID: id})
		}
	}
	r := w.s.Reader()
	if got := idsOf(r.Executions(false)); !slices.Equal(got, all) {
		t.Errorf("%v", got)
	}
	if got := idsOf(r.ExecutionsFrom(all[4], false)); !slices.Equal(got, all[4:]) {
		t.Errorf("from the fifth: %v", got)
	}
	if got := idsOf(r.ExecutionsOf(1, false)); !slices.Equal(got, all) {
		t.Errorf("of the project: %v", got)
	}
	slices.Reverse(all)
	if got := idsOf(r.Executions(true)); !slices.Equal(got, all) {
		t.Errorf("backwards: %v", got)
	}
	if got := idsOf(r.ExecutionsFrom(all[4], true)); !slices.Equal(got, all[4:]) {
		t.Errorf("backwards from the fifth: %v", got)
	}
	for e := range r.Executions(false) {
		if e.ID != all[len(all)-1] {
			t.Errorf("first is %d", e.ID)
		}
		break // leaving early must be possible
	}
	if got := len(idsOf(r.InStatus(Created))); got != 8 || len(idsOf(r.Live())) != 8 {
		t.Errorf("%d created", got)
	}
}
