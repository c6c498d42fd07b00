package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"time"

	"scaleout/cmd/worker/guard"
	"scaleout/cmd/worker/spool"
	"scaleout/httpapi/wire"
)

const (
	taskFile   = "task.json"
	scratchDir = "work"
)

// taskInfo is what a later worker process must know about an attempt. It holds no secret.
type taskInfo struct {
	TaskID      int64     `json:"task_id"`
	Attempt     int       `json:"attempt"`
	ExecutionID int64     `json:"execution_id"`
	Folder      string    `json:"folder"`
	Project     string    `json:"project"`
	Package     string    `json:"package"`
	ProjectBlob string    `json:"project_blob"`
	ProjectCopy string    `json:"project_copy,omitempty"` // the one in the cache that it runs from; "": the first, named by the digest
	GiveUpMs    int64     `json:"give_up_after_ms"`
	RunTimeoutS int64     `json:"run_timeout_s,omitempty"` // how long it may run; 0: as long as its lease goes on
	Granted     time.Time `json:"granted"`
	Stopped     bool      `json:"stopped,omitempty"` // a stop was asked for
	Done        bool      `json:"done,omitempty"`    // its report has been stored, or is not wanted
}

func infoOf(g wire.Grant) taskInfo {
	return taskInfo{
		TaskID: g.TaskID, Attempt: g.Attempt, ExecutionID: g.ExecutionID, Folder: g.Folder, Project: g.Project,
		Package: g.Package, ProjectBlob: g.ProjectBlob, GiveUpMs: g.GiveUpAfterMs, Granted: time.Now(),
		RunTimeoutS: runTimeoutOf(g.Options),
	}
}

// optionRunTimeout is the server option that bounds how long an attempt runs, in seconds.
const optionRunTimeout = "RUN_TIMEOUT"

// runTimeoutOf reads the bound from a grant's options; 0 when there is none. The masters have checked it.
func runTimeoutOf(options []wire.Parameter) int64 {
	for _, o := range options {
		if o.Name == optionRunTimeout {
			n, err := strconv.ParseInt(o.Value, 10, 64)
			if err == nil && n > 0 && n < int64(math.MaxInt64/time.Second) {
				return n
			}
		}
	}
	return 0
}

func (t taskInfo) runTimeout() time.Duration { return time.Duration(t.RunTimeoutS) * time.Second }

func (t taskInfo) key() spool.Key { return spool.Key{TaskID: t.TaskID, Attempt: t.Attempt} }

func readInfo(folder string) (taskInfo, error) {
	var t taskInfo
	data, err := os.ReadFile(filepath.Join(folder, taskFile))
	if err != nil {
		return t, err
	}
	if err := json.Unmarshal(data, &t); err != nil {
		return t, fmt.Errorf("worker: %s in %s: %w", taskFile, folder, err)
	}
	return t, nil
}

func (t taskInfo) write(folder string) error { return writeJSON(filepath.Join(folder, taskFile), t) }

// folderForm is a task folder's name. Whatever else stands in the root folder is none of ours.
var folderForm = regexp.MustCompile(`^\d+-\d+(\.\d+)?$`)

// leftover is a task folder whose attempt has not been reported.
type leftover struct {
	folder string
	info   taskInfo
}

// leftovers lists the unfinished task folders. A folder without its first file is one in which nothing was started.
func leftovers(root string, log *slog.Logger) ([]leftover, error) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, fmt.Errorf("worker: task folders: %w", err)
	}
	var list []leftover
	for _, e := range entries {
		folder := filepath.Join(root, e.Name())
		if !e.IsDir() || !folderForm.MatchString(e.Name()) {
			continue
		}
		info, err := readInfo(folder)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			log.Info("an empty task folder is removed", "path", folder)
			os.RemoveAll(folder)
		case err != nil:
			// Whose attempt it is nobody can tell any more; that nothing of it runs can be made sure.
			log.Error("a task folder cannot be read; what may run there is ended", "err", err)
			if g, err := guard.Adopt(folder); err == nil {
				if err := g.Kill(); err != nil {
					return nil, err
				}
			} else if !errors.Is(err, guard.ErrGone) {
				return nil, err
			}
		case !info.Done:
			list = append(list, leftover{folder, info})
		}
	}
	return list, nil
}

// prune removes the folders of ended attempts that are too many or too old.
func prune(root string, keep int, keepFor time.Duration, log *slog.Logger) {
	entries, err := os.ReadDir(root)
	if err != nil {
		log.Warn("task folders", "err", err)
		return
	}
	type ended struct {
		folder string
		at     time.Time
	}
	var list []ended
	for _, e := range entries {
		folder := filepath.Join(root, e.Name())
		info, err := os.Stat(filepath.Join(folder, taskFile))
		if err != nil || !folderForm.MatchString(e.Name()) {
			continue
		}
		list = append(list, ended{folder, info.ModTime()})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].at.After(list[j].at) })
	for i, e := range list {
		if i < keep && time.Since(e.at) < keepFor {
			continue
		}
		if t, err := readInfo(e.folder); err != nil || !t.Done {
			continue
		}
		if err := os.RemoveAll(e.folder); err != nil {
			log.Warn("task folder", "err", err)
		}
	}
}
