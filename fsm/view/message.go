package view

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"slices"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/registry"
	"scaleout/fsm/segment"
	"scaleout/fsm/sqltype"
)

// message is one message of an operation. Without a text it is a gap: the place behind all messages of an operation of
// which none is shown.
type message struct {
	operation operation
	id        int64
	text      *segment.Message
}

func operationMessagesView() *View {
	return declare(declaration[message]{
		Name: "operation_messages", Permission: command.MayReadOperations, Key: []string{"operation_id",
			"operation_message_id"},
		Source: FromSegments,
		Doc:    "The messages of operations: of the catalog itself, and the output of packages.",
		Columns: []column[message]{
			{Name: "operation_message_id", Type: sqltype.BigInt, Doc: "the message",
				Get: func(m message) any { return m.id }},
			{Name: "operation_id", Type: sqltype.BigInt, Doc: "the operation; an execution's id is its operation's id",
				Get: func(m message) any { return m.operation.id() }},
			{Name: "message_time", Type: sqltype.DateTimeOffset, Doc: "when it was written, by its writer's clock",
				Get: func(m message) any { return shownTime(command.Time(m.text.Time)) }},
			{Name: "message_type", Type: sqltype.SmallInt, Doc: "50 status change, 70 information, 110 warning, 120 error, …",
				Get: func(m message) any { return int64(m.text.Type) }},
			{Name: "message_source_type", Type: sqltype.SmallInt,
				Doc: "10 the catalog, 20 the worker, 30 the package: its output, …",
				Get: func(m message) any { return int64(m.text.SourceType) }},
			{Name: "message", Type: sqltype.NVarCharMax, Nullable: true, Doc: "the text",
				Get: func(m message) any { return m.text.Text }},
			{Name: "extended_info_id", Type: sqltype.BigInt, Null: "messages carry nothing else"},
		},
		Gap:     func(m message) bool { return m.text == nil },
		Visible: func(q *Query, m message) bool { return seesOperation(q, m.operation) },
		Paths: []path[message]{
			{On: "operation_id", Cost: oneRow, Ordered: true,
				In:   func(q *Query, ids []any) iter.Seq[message] { return messages(q, operationsWithIDs(q, ids)) },
				From: func(q *Query, at any) iter.Seq[message] { return messages(q, operationsFrom(q, at)) }},
		},
	})
}

// messages are those of operations, and one gap for each operation of which the query's caller sees none: no segment is
// opened for it.
func messages(q *Query, operations iter.Seq[operation]) iter.Seq[message] {
	return func(yield func(message) bool) {
		afterOperation, _ := q.afterValue("operation_id").(int64)
		afterMessage, placed := q.afterValue("operation_message_id").(int64)
		open := segmentReader{open: q.openSegment}
		for o := range operations {
			var chunks []chunk
			if seesOperation(q, o) {
				chunks = chunksOf(q, o)
			}
			if len(chunks) == 0 && !yield(message{operation: o, id: lastMessage(q)}) {
				return
			}
			for _, c := range chunks {
				if placed && o.id() == afterOperation && c.passed(q.Descending, afterMessage) {
					continue // no need to open a segment
				}
				texts, err := c.messages(&open)
				if err != nil {
					q.fail(fmt.Errorf("messages of operation %d: %w", o.id(), err))
					return
				}
				for i := range texts {
					if q.Descending {
						i = len(texts) - 1 - i
					}
					if !yield(message{o, c.firstID() + int64(i), &texts[i]}) {
						return
					}
				}
			}
		}
	}
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
	notes := o.notes(q.Reader)
	for i := range notes {
		list = append(list, chunk{note: &notes[i]})
	}
	if o.execution != nil {
		for run := range q.Reader.Runs(o.id()) {
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

func (c *chunk) messages(open *segmentReader) ([]segment.Message, error) {
	if c.note != nil {
		n := c.note
		return []segment.Message{{Time: int64(n.Time), Type: n.Type, SourceType: n.SourceType,
			Text: registry.Text(registry.HTTP, n.Code, n.Args)}}, nil
	}
	part, err := open.readPart(c.run.Segment, c.run.Part)
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
	open   func(digest string) (io.ReadCloser, error)
	digest string
	file   *segment.File
}

func (r *segmentReader) readPart(digest string, part int) (segment.Part, error) {
	if r.file == nil || r.digest != digest {
		if r.open == nil {
			return segment.Part{}, errors.New("this query has no reader of message segments")
		}
		in, err := r.open(digest)
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
