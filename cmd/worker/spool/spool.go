package spool

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"time"

	"scaleout/store/file"
)

// Key names one attempt.
type Key struct {
	TaskID  int64 `json:"task_id"`
	Attempt int   `json:"attempt"`
}

func (k Key) String() string { return fmt.Sprintf("%d-%d", k.TaskID, k.Attempt) }

func parseKey(s string) (Key, bool) {
	var k Key
	n, err := fmt.Sscanf(s, "%d-%d", &k.TaskID, &k.Attempt)
	return k, err == nil && n == 2 && k.String() == s
}

// Report is the final report on one attempt.
type Report struct {
	Key
	Outcome  string `json:"outcome"`
	ExitCode int    `json:"exit_code"`
	Message  string `json:"message,omitempty"`
	Messages int64  `json:"messages,omitempty"` // how many messages the attempt has in all
	Code     string `json:"code,omitempty"`     // of the bound that ended the attempt, if one did
}

// Message is one message of an attempt.
type Message struct {
	Time       time.Time `json:"time"`
	Type       int       `json:"type"`
	SourceType int       `json:"source_type"`
	Text       string    `json:"text"`
}

// Batch is consecutive messages of one attempt; First is the number of the first one.
type Batch struct {
	Key
	First    int64
	Messages []Message
}

// Limits bound the messages. A zero field takes its default.
type Limits struct {
	Messages int   // of one attempt; 10,000
	Bytes    int64 // of one attempt's records; 8 MiB
	Total    int64 // of all records; 512 MiB
	Closing  int   // further messages that CloseAttempt may add; 64
}

func (l *Limits) fill() {
	if l.Messages <= 0 {
		l.Messages = 10_000
	}
	if l.Bytes <= 0 {
		l.Bytes = 8 << 20
	}
	if l.Total <= 0 {
		l.Total = 512 << 20
	}
	if l.Closing <= 0 {
		l.Closing = 64
	}
}

// maxText is the longest text of a message or report, in bytes; a longer one is cut.
const maxText = 32 << 10

// ErrClosed means that the attempt has been closed and takes no more messages.
var ErrClosed = errors.New("spool: the attempt's messages are closed")

const (
	reportSuffix  = ".report"
	messageSuffix = ".messages"
)

// Spool is one worker's spool.
type Spool struct {
	dir    string
	limits Limits

	mu       sync.Mutex
	reports  map[Key]Report
	order    []Key // of the reports, oldest first
	journals map[Key]*journal
	total    int64
}

// Open reads a spool's directory, and makes the directory if it does not exist. Only one process at a time may open it.
func Open(dir string, limits Limits) (*Spool, error) {
	limits.fill()
	if err := file.MakeDir(dir); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	file.RemoveLeftovers(dir, 0)
	s := &Spool{dir: dir, limits: limits, reports: map[Key]Report{}, journals: map[Key]*journal{}}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	for _, e := range entries {
		if err := s.load(e.Name()); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	sort.Slice(s.order, func(i, j int) bool { return less(s.order[i], s.order[j]) })
	return s, nil
}

func less(a, b Key) bool {
	return a.TaskID < b.TaskID || a.TaskID == b.TaskID && a.Attempt < b.Attempt
}

func (s *Spool) load(name string) error {
	path := filepath.Join(s.dir, name)
	if stem, ok := strings.CutSuffix(name, reportSuffix); ok {
		k, ok := parseKey(stem)
		if !ok {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("spool: %w", err)
		}
		var r Report
		err = json.Unmarshal(data, &r)
		if err == nil && r.Key != k {
			err = fmt.Errorf("it is one of attempt %v", r.Key)
		}
		if err != nil {
			return fmt.Errorf("spool: %s is not a report of attempt %v: %w; remove it to go on", path, k, err)
		}
		s.reports[k] = r
		s.order = append(s.order, k)
	}
	if stem, ok := strings.CutSuffix(name, messageSuffix); ok {
		k, ok := parseKey(stem)
		if !ok {
			return nil
		}
		j, err := openJournal(path)
		if err != nil {
			return err
		}
		s.journals[k] = j
		s.total += j.size
	}
	return nil
}

// Close closes the files. The spool must not be used afterwards.
func (s *Spool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, j := range s.journals {
		errs = append(errs, j.file.Close())
	}
	s.journals = map[Key]*journal{}
	return errors.Join(errs...)
}

// AddReport stores a final report. A second report for the same attempt changes nothing: the first one counts. If the
// disk refuses the report, this process offers it all the same: the masters should learn of the attempt's end from a
// worker that cannot write.
func (s *Spool) AddReport(r Report) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.reports[r.Key]; ok {
		return nil
	}
	r.Message = cut(r.Message)
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("spool: report: %w", err)
	}
	s.reports[r.Key] = r
	s.order = append(s.order, r.Key)
	if err := file.Write(filepath.Join(s.dir, r.Key.String()+reportSuffix), 0o600, data); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	return nil
}

// Reports returns the reports that no master has taken yet, oldest first.
func (s *Spool) Reports() []Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Report, 0, len(s.order))
	for _, k := range s.order {
		r := s.reports[k]
		if j := s.journals[k]; j != nil {
			r.Messages = j.end() - 1 // the numbers may have been shifted since
		}
		all = append(all, r)
	}
	return all
}

// Settled forgets the report of an attempt, because the cluster has it or will never take it.
func (s *Spool) Settled(k Key) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.reports[k]; !ok {
		return nil
	}
	if err := remove(filepath.Join(s.dir, k.String()+reportSuffix)); err != nil {
		return err
	}
	delete(s.reports, k)
	for i, o := range s.order {
		if o == k {
			s.order = append(s.order[:i], s.order[i+1:]...)
			break
		}
	}
	return nil
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("spool: %w", err)
	}
	return nil
}
