package service

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"gopkg.in/natefinch/lumberjack.v2"

	"scaleout/cmd/dev/process"
)

// applicationData is the service account's folder for data of applications, as the system has it.
func applicationData(goos string, getenv func(string) string) (string, error) {
	// Under systemd the account may have no home at all.
	if dirs := getenv("STATE_DIRECTORY"); dirs != "" && goos == "linux" {
		dir, _, _ := strings.Cut(dirs, ":")
		return dir, nil
	}
	home := func(below ...string) (string, error) {
		h := getenv("HOME")
		if h == "" {
			return "", errors.New("HOME is not set: name the folders in the settings LogFolder and TasksRootFolder")
		}
		return filepath.Join(append([]string{h}, below...)...), nil
	}
	switch goos {
	case "windows":
		if dir := getenv("LOCALAPPDATA"); dir != "" {
			return dir, nil
		}
		return "", errors.New("LOCALAPPDATA is not set: name the folders in the settings LogFolder and TasksRootFolder")
	case "darwin":
		return home("Library", "Application Support")
	}
	if dir := getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return dir, nil
	}
	return home(".local", "share")
}

// Parts of a service account's folder.
const (
	PartMaster = "Master" // a master's log
	PartWorker = "Agent"  // a worker's log
	PartTasks  = "Tasks"  // a worker's tasks
)

// Folder is given, or the default folder of a part.
func Folder(given, part string) (string, error) {
	if given != "" {
		return given, nil
	}
	base, err := applicationData(runtime.GOOS, os.Getenv)
	if err != nil {
		return "", err
	}
	return filepath.Join(base, "SSIS", "Cluster", part), nil
}

// FileName makes a node's name fit for a file.
func FileName(name string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || strings.ContainsRune(`/\:*?"<>|`, r) {
			return '_'
		}
		return r
	}, name)
}

// LogFile is the log of the service of that name.
func LogFile(folder, name string) string { return filepath.Join(folder, FileName(name)+".log") }

// Rotation of a service log.
const (
	logMegabytes = 20
	logBackups   = 5
)

// OpenLog opens LogFile, which holds what stderr holds. Close it last.
func OpenLog(stderr io.Writer, folder, name string, level slog.Level) (*slog.Logger, io.Closer, error) {
	if err := os.MkdirAll(folder, 0o750); err != nil {
		return nil, nil, fmt.Errorf("LogFolder: %w", err)
	}
	path := LogFile(folder, name)
	// Opened here first: lumberjack would swallow the error.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, nil, fmt.Errorf("service log: %w", err)
	}
	if runtime.GOOS != "windows" {
		// An open file cannot be renamed on Windows, and rotation renames.
		_ = debug.SetCrashOutput(f, debug.CrashOptions{})
	}
	if err := f.Close(); err != nil {
		return nil, nil, fmt.Errorf("service log: %w", err)
	}
	file := &lumberjack.Logger{Filename: path, MaxSize: logMegabytes, MaxBackups: logBackups}
	var w io.Writer = file
	if !process.IsChild() { // whose standard error is for what comes before and after the log
		w = io.MultiWriter(stderr, file)
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level})), file, nil
}
