package worker

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"scaleout/cmd/worker/logger"
	"scaleout/cmd/worker/spool"
	"scaleout/fsm/logkey"
	"scaleout/httpapi/client"
	"scaleout/httpapi/wire"
)

const (
	outboxBytes = 256 << 10 // of the messages in one request
	outboxPause = 100 * time.Millisecond
)

// outboxLoop hands over the messages of each attempt in their order, until the worker leaves.
func (w *Worker) outboxLoop(ctx context.Context) {
	pause := firstPause
	for {
		if _, now := w.leaving(); now || ctx.Err() != nil {
			return
		}
		sent, err := w.sendMessages(ctx)
		switch {
		case err != nil:
			w.log.Warn("messages could not be handed over; they are kept", logger.Err(err))
			pauseFor(ctx, pause/2+rand.N(pause), nil)
			pause = min(2*pause, longestPause)
		case sent:
			pause = firstPause
			// A short pause lets one request carry what would otherwise be many.
			pauseFor(ctx, outboxPause, nil)
		default:
			pauseFor(ctx, time.Second, w.outbox)
		}
	}
}

// pauseFor waits for d, and less if ctx ends or sooner receives.
func pauseFor(ctx context.Context, d time.Duration, sooner <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	case <-sooner:
	}
}

// sendMessages sends one request with the oldest pending messages. It reports whether there was something to send.
func (w *Worker) sendMessages(ctx context.Context) (sent bool, err error) {
	batches, err := w.spool.Pending(outboxBytes)
	if err != nil || len(batches) == 0 {
		return false, err
	}
	if w.oneItem {
		// The masters refuse one of these attempts and did not say which. The choice is random so that each gets its turn.
		i := rand.IntN(len(batches))
		batches = batches[i : i+1]
	}
	req := wire.Messages{Incarnation: w.incarnation}
	total := 0
	for _, b := range batches {
		n := min(len(b.Messages), wire.MaxMessages-total)
		if n == 0 || len(req.Items) == wire.MaxMessageItems {
			break
		}
		total += n
		item := wire.MessagesItem{
			TaskID: b.TaskID, Attempt: b.Attempt, FirstSeq: b.First, Messages: make([]wire.Message, 0, n),
		}
		for _, m := range b.Messages[:n] {
			item.Messages = append(item.Messages,
				wire.Message{Time: m.Time, Type: m.Type, SourceType: m.SourceType, Text: m.Text})
		}
		req.Items = append(req.Items, item)
	}
	answer, err := w.cfg.Masters.Messages(ctx, w.id, req)
	var e *client.Error
	switch {
	case err == nil:
		w.oneItem = false
		return true, w.accepted(answer.Accepted)
	case errors.As(err, &e) && e.Code == wire.CodeGap:
		if len(e.Problem.Accepted) > 0 {
			return true, w.accepted(e.Problem.Accepted)
		}
		if e.Problem.NextSeq != nil && len(req.Items) == 1 {
			key := spool.Key{TaskID: req.Items[0].TaskID, Attempt: req.Items[0].Attempt}
			return true, w.spool.Accepted(key, *e.Problem.NextSeq)
		}
	case errors.As(err, &e) && e.Code == wire.CodeFenced:
		return true, errors.Join(w.accepted(e.Problem.Accepted), w.dropUnwanted(req.Items, e.Problem.Accepted))
	}
	return false, err
}

// dropUnwanted removes the messages of attempts that were never this worker's in this catalog. No master will ever take
// them, and they must not block the others. If the answer does not say which of several attempts it refuses, the next
// requests carry one attempt each.
func (w *Worker) dropUnwanted(items []wire.MessagesItem, accepted []wire.Accepted) error {
	var errs []error
	drop := func(taskID int64, attempt int) {
		w.log.Warn("no master takes the messages of this attempt; they are dropped",
			slog.Int64(logkey.TaskID, taskID), slog.Int(logkey.Attempt, attempt))
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
	w.oneItem = len(errs) == 0
	return errors.Join(errs...)
}

func (w *Worker) accepted(answers []wire.Accepted) error {
	var errs []error
	for _, a := range answers {
		errs = append(errs, w.spool.Accepted(spool.Key{TaskID: a.TaskID, Attempt: a.Attempt}, a.NextSeq))
	}
	return errors.Join(errs...)
}
