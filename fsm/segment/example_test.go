package segment_test

import (
	"fmt"

	"scaleout/fsm/segment"
)

// Messages of two attempts go into one segment; a reader takes out what belongs to one of them.
func Example() {
	raw, err := segment.Encode([]segment.Part{
		{TaskID: 17, Attempt: 1, FirstSeq: 1, Messages: []segment.Message{{Type: 70, SourceType: 30, Text: "rows: 1000"}}},
		{TaskID: 18, Attempt: 2, FirstSeq: 41,
			Messages: []segment.Message{{Type: 120, SourceType: 30, Text: "no such table"}}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	file, err := segment.Parse(raw)
	if err != nil {
		fmt.Println(err)
		return
	}
	for i := range file.Parts() {
		part, err := file.Part(i)
		if err != nil {
			fmt.Println(err)
			return
		}
		if part.TaskID == 18 {
			fmt.Println("attempt", part.Attempt, "message", part.FirstSeq, part.Messages[0].Text)
		}
	}
	// Output: attempt 2 message 41 no such table
}

// Merge takes parts of several segments into one without decoding their messages.
func ExampleMerge() {
	var small []*segment.File
	for task := range int64(3) {
		raw, err := segment.Encode([]segment.Part{
			{TaskID: task, Attempt: 1, FirstSeq: 1, Messages: []segment.Message{{Text: "done"}}},
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		file, err := segment.Parse(raw)
		if err != nil {
			fmt.Println(err)
			return
		}
		small = append(small, file)
	}
	merged, err := segment.Merge(small, []segment.Pick{{Source: 2, Part: 0}, {Source: 0, Part: 0}})
	if err != nil {
		fmt.Println(err)
		return
	}
	file, err := segment.Parse(merged)
	if err != nil {
		fmt.Println(err)
		return
	}
	first, err := file.Part(0)
	fmt.Println(file.Parts(), "parts, the first of task", first.TaskID, err)
	// Output: 2 parts, the first of task 2 <nil>
}
