package view

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/registry"
	"scaleout/fsm/segment"
	"scaleout/fsm/sqltype"
)

func messageViews() []*View {
	return []*View{{
		Name: "operation_messages", Permission: catalog.Readers, Key: []string{"operation_id", "operation_message_id"},
		Source: FromSegments,
		Doc:    "The messages of operations: of the catalog itself, and the output of packages.",
		Columns: []registry.Column{
			{Name: "operation_message_id", Type: sqltype.BigInt, Doc: "the message"},
			{Name: "operation_id", Type: sqltype.BigInt, Doc: "the operation; an execution's id is its operation's id"},
			{Name: "message_time", Type: sqltype.DateTimeOffset, Doc: "when it was written, by its writer's clock"},
			{Name: "message_type", Type: sqltype.SmallInt, Doc: "50 status change, 70 information, 110 warning, 120 error, …"},
			{Name: "message_source_type", Type: sqltype.SmallInt,
				Doc: "10 the catalog, 20 the worker, 30 the package: its output, …"},
			{Name: "message", Type: sqltype.NVarCharMax, Nullable: true, Doc: "the text"},
			{Name: "extended_info_id", Type: sqltype.BigInt, Nullable: true, Doc: "always NULL"},
		},
		Walks: always,
		Rows:  messageRows,
	}}
}

const (
	messageIDColumn   = 0
	operationIDColumn = 1
)

func messageRows(ctx context.Context, q *Query) iter.Seq2[registry.Row, error] {
	return func(yield func(registry.Row, error) bool) {
		operations := *q
		operations.After = nil
		var afterOperation, afterMessage int64
		if q.After != nil {
			afterOperation, _ = q.After[operationIDColumn].(int64)
			afterMessage, _ = q.After[messageIDColumn].(int64)
			operations.After = registry.Row{afterOperation}
		}
		open := segmentReader{source: q.Messages}
		for o := range someOperations(&operations) {
			var chunks []chunk
			if sees(q, o.id(), o.caller()) {
				chunks = chunksOf(q, o)
			}
			if len(chunks) == 0 && !yield(registry.Row{lastMessage(q), o.id()}, errHidden) {
				return
			}
			for _, c := range chunks {
				if o.id() == afterOperation && c.passed(q.Descending, afterMessage) {
					continue // spares opening a segment
				}
				messages, err := c.messages(ctx, &open)
				if err != nil {
					yield(nil, fmt.Errorf("messages of operation %d: %w", o.id(), err))
					return
				}
				for i := range messages {
					if q.Descending {
						i = len(messages) - 1 - i
					}
					m := &messages[i]
					row := registry.Row{c.firstID() + int64(i), o.id(), timeOrNull(command.Time(m.Time)), int64(m.Type),
						int64(m.SourceType), m.Text, nil}
					if !yield(row, nil) {
						return
					}
				}
			}
		}
	}
}

// completeness is that of the operation that the query names, nil if it names none that its caller may see.
func completeness(q *Query) *catalog.Completeness {
	id, ok := equalInt(q, "operation_id")
	if !ok {
		return nil
	}
	x, ok := q.View.Execution(id)
	if !ok {
		if o, ok := q.View.Operation(id); !ok || !sees(q, o.ID, o.Caller) {
			return nil
		}
		return &catalog.Completeness{Complete: true, Ended: true} // other operations end in the command that makes them
	}
	if !sees(q, x.ID, x.Caller) {
		return nil
	}
	return x.Completeness()
}

// chunk is consecutive messages of one operation: one of note and run is set.
type chunk struct {
	note *catalog.Note
	run  *catalog.MessageRun
}

// firstID is the operation_message_id of the chunk's first message; the others follow.
func (c *chunk) firstID() int64 {
	if c.run != nil {
		return c.run.FirstID
	}
	return c.note.ID
}

func (c *chunk) count() int {
	if c.run != nil {
		return c.run.Count
	}
	return 1
}

// passed reports whether the walk has left every message of the chunk behind.
func (c *chunk) passed(descending bool, after int64) bool {
	if descending {
		return c.firstID() >= after
	}
	return c.firstID()+int64(c.count())-1 <= after
}

// lastMessage is an operation_message_id behind all others in the direction of the walk.
func lastMessage(q *Query) int64 {
	if q.Descending {
		return 0
	}
	return math.MaxInt64
}

// chunksOf lists an operation's messages in the order of the walk.
func chunksOf(q *Query, o operation) []chunk {
	var list []chunk
	notes := o.notes(q.View)
	for i := range notes {
		list = append(list, chunk{note: &notes[i]})
	}
	if o.execution != nil {
		for run := range q.View.Runs(o.id()) {
			list = append(list, chunk{run: run})
		}
	}
	slices.SortFunc(list, func(a, b chunk) int {
		if q.Descending {
			a, b = b, a
		}
		return cmp.Compare(a.firstID(), b.firstID())
	})
	return list
}

func (c *chunk) messages(ctx context.Context, open *segmentReader) ([]segment.Message, error) {
	if c.note != nil {
		n := c.note
		return []segment.Message{{Time: int64(n.Time), Type: n.Type, SourceType: n.SourceType,
			Text: registry.Text(registry.HTTP, n.Code, n.Args)}}, nil
	}
	part, err := open.part(ctx, c.run.Segment, c.run.Part)
	if err != nil {
		return nil, err
	}
	if have := len(part.Messages) - c.run.Skip; have < c.run.Count || c.run.Skip < 0 {
		return nil, fmt.Errorf("part %d of segment %s has %d messages, %d are needed", c.run.Part, c.run.Segment,
			len(part.Messages), c.run.Skip+c.run.Count)
	}
	return part.Messages[c.run.Skip : c.run.Skip+c.run.Count], nil
}

// segmentReader keeps the segment that was opened last: runs of one operation often lie in the same one.
type segmentReader struct {
	source MessageSource
	digest string
	file   *segment.File
}

func (r *segmentReader) part(ctx context.Context, digest string, part int) (segment.Part, error) {
	if r.file == nil || r.digest != digest {
		if r.source == nil {
			return segment.Part{}, errors.New("this query has no reader of message segments")
		}
		in, err := r.source.OpenSegment(ctx, digest)
		if err != nil {
			return segment.Part{}, fmt.Errorf("open segment %s: %w", digest, err)
		}
		file, err := segment.Open(in)
		if err = errors.Join(err, in.Close()); err != nil {
			return segment.Part{}, fmt.Errorf("read segment %s: %w", digest, err)
		}
		r.file, r.digest = file, digest
	}
	return r.file.Part(part)
}
