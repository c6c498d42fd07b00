package worker

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"scaleout/cmd/worker/spool"
	"scaleout/httpapi/client"
	"scaleout/httpapi/wire"
)

const (
	mailBytes = 256 << 10 // of one request
	mailEvery = 100 * time.Millisecond
)

// mailLoop hands over messages, in order per attempt, until the worker leaves.
func (w *Worker) mailLoop(life context.Context) {
	pause := firstPause
	for {
		if _, now := w.leaving(); now || life.Err() != nil {
			return
		}
		sent, err := w.sendMail(life)
		switch {
		case err != nil:
			w.log.Warn("messages could not be handed over; they are kept", "err", err)
			w.wait(life, pause/2+rand.N(pause), nil)
			pause = min(2*pause, longestPause)
		case sent:
			pause = firstPause
			// A little patience makes one request of what would have been many.
			w.wait(life, mailEvery, nil)
		default:
			w.wait(life, time.Second, w.mail)
		}
	}
}

func (w *Worker) wait(life context.Context, d time.Duration, sooner <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-life.Done():
	case <-sooner:
	}
}

func (w *Worker) sendMail(life context.Context) (sent bool, err error) {
	batches, err := w.spool.Pending(mailBytes)
	if err != nil || len(batches) == 0 {
		return false, err
	}
	if w.alone {
		// Any of them may be the one: by chance every one comes to the front.
		i := rand.IntN(len(batches))
		batches = batches[i : i+1]
	}
	req := wire.Messages{Instance: w.instance}
	total := 0
	for _, b := range batches {
		n := min(len(b.Messages), wire.MaxMessages-total)
		if n == 0 || len(req.Items) == wire.MaxMessageItems {
			break
		}
		total += n
		item := wire.MessagesItem{TaskID: b.TaskID, Attempt: b.Attempt, FirstSeq: b.First, Messages: make([]wire.Message, 0, n)}
		for _, m := range b.Messages[:n] {
			item.Messages = append(item.Messages, wire.Message{Time: m.Time, Type: m.Type, SourceType: m.SourceType, Text: m.Text})
		}
		req.Items = append(req.Items, item)
	}
	answer, err := w.cfg.Masters.Messages(life, w.id, req)
	var e *client.Error
	switch {
	case err == nil:
		w.alone = false
		return true, w.accepted(answer.Accepted)
	case errors.As(err, &e) && e.Code == wire.CodeGap:
		if len(e.Problem.Accepted) > 0 {
			return true, w.accepted(e.Problem.Accepted)
		}
		if e.Problem.NextSeq != nil && len(req.Items) == 1 {
			return true, w.spool.Accepted(spool.Key{TaskID: req.Items[0].TaskID, Attempt: req.Items[0].Attempt}, *e.Problem.NextSeq)
		}
	case errors.As(err, &e) && e.Code == wire.CodeFenced:
		return true, errors.Join(w.accepted(e.Problem.Accepted), w.unwanted(req.Items, e.Problem.Accepted))
	}
	return false, err
}

// unwanted forgets messages of attempts that were never this worker's, in this catalog: nobody will ever take them, and
// they must not hold up the others. Which of several they are, the answer may not say: then each is sent alone.
func (w *Worker) unwanted(items []wire.MessagesItem, accepted []wire.Accepted) error {
	var errs []error
	drop := func(taskID int64, attempt int) {
		w.log.Warn("no master takes the messages of this attempt", "task_id", taskID, "attempt", attempt)
		errs = append(errs, w.spool.Drop(spool.Key{TaskID: taskID, Attempt: attempt}))
	}
	for _, a := range accepted {
		if a.NextSeq < 1 {
			drop(a.TaskID, a.Attempt)
		}
	}
	if len(errs) == 0 && len(items) == 1 {
		drop(items[0].TaskID, items[0].Attempt)
	}
	w.alone = len(errs) == 0
	return errors.Join(errs...)
}

func (w *Worker) accepted(list []wire.Accepted) error {
	var errs []error
	for _, a := range list {
		errs = append(errs, w.spool.Accepted(spool.Key{TaskID: a.TaskID, Attempt: a.Attempt}, a.NextSeq))
	}
	return errors.Join(errs...)
}
