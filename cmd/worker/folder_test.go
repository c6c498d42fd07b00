//go:build unix

package worker

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestTaskFolders(t *testing.T) {
	root := t.TempDir()
	make := func(name string, info *taskInfo, age time.Duration) string {
		t.Helper()
		dir := filepath.Join(root, name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if info != nil {
			if err := info.write(dir); err != nil {
				t.Fatal(err)
			}
			when := time.Now().Add(-age)
			if err := os.Chtimes(filepath.Join(dir, taskFile), when, when); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	strange := make("precious data", nil, 0)
	empty := make("5-1", nil, 0)
	open := make("6-1", &taskInfo{TaskID: 6, Attempt: 1}, 30*24*time.Hour)
	old := make("7-1", &taskInfo{TaskID: 7, Attempt: 1, Done: true}, 30*24*time.Hour)
	aside := make("7-1.123", &taskInfo{TaskID: 7, Attempt: 1, Done: true}, 3*time.Hour)
	recent := make("8-1", &taskInfo{TaskID: 8, Attempt: 1, Done: true}, time.Hour)
	newest := make("9-1", &taskInfo{TaskID: 9, Attempt: 1, Done: true}, 0)
	there := func(dir string) bool {
		_, err := os.Stat(dir)
		return err == nil
	}
	left, err := unfinishedFolders(root, discardLog)
	if err != nil || len(left) != 1 || left[0].path != open {
		t.Fatalf("%+v, %v", left, err)
	}
	if !there(strange) || there(empty) {
		t.Errorf("what is not a task folder: %v; an empty one: %v", there(strange), there(empty))
	}
	prune(root, 2, 7*24*time.Hour, discardLog)
	if !there(open) || there(old) || there(aside) || !there(recent) || !there(newest) || !there(strange) {
		t.Errorf("after pruning: %v %v %v %v %v %v", there(open), there(old), there(aside), there(recent), there(newest),
			there(strange))
	}
	// An attempt whose file is damaged is nobody's any more, but its folder stays.
	damaged := make("10-1", nil, 0)
	if err := os.WriteFile(filepath.Join(damaged, taskFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if left, err := unfinishedFolders(root, discardLog); err != nil || len(left) != 1 || !there(damaged) {
		t.Fatalf("%+v, %v", left, err)
	}
}
