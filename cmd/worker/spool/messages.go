package spool

import (
	"fmt"
	"path/filepath"
	"sort"
	"strings"
	"unicode/utf8"

	"scaleout/store/file"
)

// AppendMessages stores messages after the attempt's earlier ones, together with the mark: how far their source has
// been read. Messages beyond the limits are dropped, and one notice replaces them; the mark still advances.
func (s *Spool) AppendMessages(k Key, msgs []Message, mark int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	j, err := s.journal(k)
	if err != nil {
		return err
	}
	if j.closed {
		return fmt.Errorf("%w: %v", ErrClosed, k)
	}
	var keep []Message
	var bytes int64
	full := j.full
	for _, m := range msgs {
		if full {
			break
		}
		m.Text = cut(m.Text)
		bytes += int64(len(m.Text)) + recordOverhead
		if j.count()+len(keep) >= s.limits.Messages || j.size+bytes > s.limits.Bytes || s.total+bytes > s.limits.Total {
			full = true
			m.Text = "From here on the output is not recorded: the limit for one attempt's messages is reached. " +
				"The whole output is in the worker's task folder."
		}
		keep = append(keep, m)
	}
	return s.write(k, j, record{Messages: keep, Mark: mark, Full: full})
}

// CloseAttempt stores the attempt's last messages and takes no more. A few have room beyond the limits. It returns how
// many messages the attempt has in all. The attempt is forgotten once the cluster has accepted them all. A second call
// changes nothing.
func (s *Spool) CloseAttempt(k Key, msgs []Message) (total int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j, err := s.journal(k)
	if err != nil {
		return 0, err
	}
	if j.closed {
		return j.end() - 1, nil
	}
	msgs = append([]Message(nil), msgs[max(0, len(msgs)-s.limits.Closing):]...)
	for i := range msgs {
		msgs[i].Text = cut(msgs[i].Text)
	}
	if err := s.write(k, j, record{Messages: msgs, Mark: j.mark, Full: j.full, Closed: true}); err != nil {
		return j.end() - 1, err
	}
	return j.end() - 1, s.forgetIfDone(k, j)
}

// Mark returns how far the source of an attempt's messages has been read, and whether the limits cut messages off.
func (s *Spool) Mark(k Key) (mark int64, full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if j := s.journals[k]; j != nil {
		return j.mark, j.full
	}
	return 0, false
}

// Pending returns messages that no master has taken yet: at most about maxBytes of text, the oldest attempts first.
func (s *Spool) Pending(maxBytes int) ([]Batch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := make([]Key, 0, len(s.journals))
	for k, j := range s.journals {
		if j.next < j.end() {
			keys = append(keys, k)
		}
	}
	sort.Slice(keys, func(a, b int) bool { return less(keys[a], keys[b]) })
	var all []Batch
	for i, k := range keys {
		// Each attempt gets an equal share: one with much output must not delay the others.
		msgs, err := s.journals[k].read(maxBytes / (len(keys) - i))
		if err != nil {
			return nil, err
		}
		for _, m := range msgs {
			maxBytes -= len(m.Text)
		}
		maxBytes = max(maxBytes, 0)
		all = append(all, Batch{Key: k, First: s.journals[k].next, Messages: msgs})
	}
	return all, nil
}

// Accepted records the cluster's answer that it has all messages of the attempt before number next. If the cluster said
// more before, its catalog was restored from a backup: what the spool still has is offered again from next on.
func (s *Spool) Accepted(k Key, next int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.journals[k]
	if j == nil || next < 1 {
		return nil
	}
	var skip int64
	if first := j.shift + 1; next < first {
		skip = next - first
	} else if next > j.end() {
		// The cluster has more than was ever sent from here: the next numbers must follow its own.
		skip = next - j.end()
	}
	if skip != 0 {
		if err := s.write(k, j, record{Mark: j.mark, Full: j.full, Closed: j.closed, Skip: skip}); err != nil {
			return err
		}
	}
	j.next = next
	return s.forgetIfDone(k, j)
}

// Drop forgets an attempt's messages, because the cluster does not know the attempt any more.
func (s *Spool) Drop(k Key) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.journals[k]
	if j == nil {
		return nil
	}
	j.next, j.closed = j.end(), true
	return s.forgetIfDone(k, j)
}

// Idle reports whether nothing waits for a master, and how many reports and how many attempts with messages wait.
func (s *Spool) Idle() (idle bool, reports, attempts int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, j := range s.journals {
		if j.next < j.end() {
			attempts++
		}
	}
	return len(s.reports)+attempts == 0, len(s.reports), attempts
}

func (s *Spool) journal(k Key) (*journal, error) {
	if j := s.journals[k]; j != nil {
		return j, nil
	}
	j, err := openJournal(filepath.Join(s.dir, k.String()+messageSuffix))
	if err != nil {
		return nil, err
	}
	if err := file.SyncDir(s.dir); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	s.journals[k] = j
	return j, nil
}

func (s *Spool) write(k Key, j *journal, r record) error {
	before := j.size
	err := j.append(r)
	s.total += j.size - before
	if err != nil {
		return fmt.Errorf("spool: messages of attempt %v: %w", k, err)
	}
	return nil
}

func (s *Spool) forgetIfDone(k Key, j *journal) error {
	if !j.closed || j.next < j.end() {
		return nil
	}
	j.file.Close()
	delete(s.journals, k)
	s.total -= j.size
	return remove(j.path)
}

// cut bounds a text and makes it valid UTF-8: a message that the cluster refuses would block all later ones.
func cut(text string) string {
	if len(text) > maxText {
		end := maxText - len(cutNotice)
		for end > 0 && !utf8.RuneStart(text[end]) {
			end--
		}
		text = text[:end] + cutNotice
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

const cutNotice = " … (cut)"
