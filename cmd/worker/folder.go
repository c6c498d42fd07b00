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
	"scaleout/cmd/worker/logger"
	"scaleout/cmd/worker/spool"
	"scaleout/fsm/logkey"
	"scaleout/httpapi/wire"
)

const (
	taskFile   = "task.json"
	scratchDir = "work"
)

// taskInfo is what a later worker process must know about an attempt. It contains no secret.
type taskInfo struct {
	TaskID      int64     `json:"task_id"`
	Attempt     int       `json:"attempt"`
	ExecutionID int64     `json:"execution_id"`
	Folder      string    `json:"folder"`
	Project     string    `json:"project"`
	Package     string    `json:"package"`
	ProjectBlob string    `json:"project_blob"`
	ProjectCopy string    `json:"project_copy,omitempty"` // the cached copy that it runs from; "": the digest's first
	GiveUpMs    int64     `json:"give_up_after_ms"`
	RunTimeoutS int64     `json:"run_timeout_s,omitempty"` // how long it may run; 0: as long as its lease is renewed
	Granted     time.Time `json:"granted"`
	Stopped     bool      `json:"stopped,omitempty"` // a stop was asked for
	Done        bool      `json:"done,omitempty"`    // its report has been stored, or nobody wants one
}

func taskInfoOf(g wire.Grant) taskInfo {
	return taskInfo{
		TaskID: g.TaskID, Attempt: g.Attempt, ExecutionID: g.ExecutionID, Folder: g.Folder, Project: g.Project,
		Package: g.Package, ProjectBlob: g.ProjectBlob, GiveUpMs: g.GiveUpAfterMs, Granted: time.Now(),
		RunTimeoutS: runTimeoutOf(g.Options),
	}
}

// optionRunTimeout is the server option that bounds how long an attempt runs, in seconds.
const optionRunTimeout = "RUN_TIMEOUT"

// runTimeoutOf returns the bound in a grant's options in seconds, and 0 if there is none. The masters have checked it.
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

// folderPattern matches the names of task folders. Everything else in the root folder belongs to others.
var folderPattern = regexp.MustCompile(`^\d+-\d+(\.\d+)?$`)

// taskFolder is the folder of an attempt that has not been reported.
type taskFolder struct {
	path string
	info taskInfo
}

// unfinishedFolders lists the folders of attempts that have not been reported. It removes folders without a task file:
// that file is written first, so nothing was started in them.
func unfinishedFolders(root string, log logger.Logger) ([]taskFolder, error) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, fmt.Errorf("worker: task folders: %w", err)
	}
	var unfinished []taskFolder
	for _, e := range entries {
		folder := filepath.Join(root, e.Name())
		if !e.IsDir() || !folderPattern.MatchString(e.Name()) {
			continue
		}
		info, err := readInfo(folder)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			log.Info("an empty task folder is removed", slog.String(logkey.Path, folder))
			os.RemoveAll(folder)
		case err != nil:
			// Nobody can tell any more which attempt this is. What still runs in the folder is ended.
			log.Error("a task folder cannot be read; what may run there is ended", logger.Err(err))
			if g, err := guard.Adopt(folder); err == nil {
				if err := g.Kill(); err != nil {
					return nil, err
				}
			} else if !errors.Is(err, guard.ErrGone) {
				return nil, err
			}
		case !info.Done:
			unfinished = append(unfinished, taskFolder{folder, info})
		}
	}
	return unfinished, nil
}

// prune removes the folders of ended attempts that are older than keepFor or not among the newest keep.
func prune(root string, keep int, keepFor time.Duration, log logger.Logger) {
	entries, err := os.ReadDir(root)
	if err != nil {
		log.Warn("the task folders cannot be listed", logger.Err(err))
		return
	}
	type ended struct {
		folder string
		at     time.Time
	}
	var found []ended
	for _, e := range entries {
		folder := filepath.Join(root, e.Name())
		info, err := os.Stat(filepath.Join(folder, taskFile))
		if err != nil || !folderPattern.MatchString(e.Name()) {
			continue
		}
		found = append(found, ended{folder, info.ModTime()})
	}
	sort.Slice(found, func(i, j int) bool { return found[i].at.After(found[j].at) })
	for i, e := range found {
		if i < keep && time.Since(e.at) < keepFor {
			continue
		}
		if t, err := readInfo(e.folder); err != nil || !t.Done {
			continue
		}
		if err := os.RemoveAll(e.folder); err != nil {
			log.Warn("an old task folder cannot be removed", logger.Err(err))
		}
	}
}
