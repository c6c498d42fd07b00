package blobs_test

import (
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"scaleout/cluster/blobs"
)

// most is how much one caller may have uploaded in these tests.
const most = 400 << 10

func (c *cluster) upload(node, by, text string) error {
	_, err := c.keepers[node].Upload(c.t.Context(), by, sum(text), int64(len(text)), strings.NewReader(text))
	return err
}

func refused(t *testing.T, err error, yes bool) {
	t.Helper()
	var limit *blobs.LimitError
	if errors.As(err, &limit) != yes || !yes && err != nil {
		t.Errorf("%v, refused wanted: %v", err, yes)
	}
}

// big is 150 KiB of text that is like no other.
func big(name string) string { return name + strings.Repeat(".", 150<<10-len(name)) }

// What a caller uploaded counts until something names it, and for nobody else.
func TestUploadsAreLimited(t *testing.T) {
	c := start(t, []string{"a", "b"}, nil, time.Hour)
	refused(t, c.upload("a", "anna", big("one")), false)
	refused(t, c.upload("a", "anna", big("two")), false)
	refused(t, c.upload("a", "anna", big("three")), true)
	if c.disks["a"].Has(sum(big("three"))) {
		t.Error("bytes were written")
	}
	refused(t, c.upload("a", "anna", big("one")), false) // it is here: no new bytes
	refused(t, c.upload("a", "bert", big("three")), false)
	c.name(sum(big("one")), true)
	refused(t, c.upload("a", "anna", big("four")), false)
	refused(t, c.upload("a", "anna", big("five")), true)
	c.name(sum(big("one")), false) // of a project that was deleted: it was named
	refused(t, c.upload("a", "anna", "small"), false)
	refused(t, c.upload("a", "anna", "not larger, and a file all the same"), true)

	// Another master that leads from now on counts the same.
	wait(t, "b holds all", func() bool { return len(c.disks["b"].Marked()) == 5 })
	refused(t, c.upload("b", "anna", big("six")), true)
	refused(t, c.upload("b", "bert", big("six")), false)
}

func TestAFailedUploadDoesNotCount(t *testing.T) {
	c := start(t, []string{"a"}, nil, time.Hour)
	k := c.keepers["a"]
	for name, upload := range map[string]func() error{
		"breaks off": func() error {
			_, err := k.Upload(t.Context(), "anna", sum("x"), most, io.MultiReader(strings.NewReader("beginning"), broken{}))
			return err
		},
		"another content": func() error {
			_, err := k.Upload(t.Context(), "anna", sum("x"), 9, strings.NewReader("something"))
			return err
		},
		"of unknown size": func() error {
			_, err := k.Upload(t.Context(), "anna", sum("x"), -1, broken{})
			return err
		},
	} {
		for range 3 {
			if err := upload(); err == nil {
				t.Errorf("%s: no error", name)
			}
		}
		if marks := c.disks["a"].Marked(); len(marks) != 0 {
			t.Errorf("%s: %v", name, marks)
		}
	}
	if size, err := k.Upload(t.Context(), "anna", sum("y"), -1, strings.NewReader("y")); err != nil || size != 1 {
		t.Error(size, err)
	}
	if got := c.disks["a"].Marked()[sum("y")]; got != (blobs.Upload{By: "anna", Size: 1}) {
		t.Errorf("marked as %v", got)
	}
	refused(t, c.upload("a", "anna", big("one")), false)
	refused(t, c.upload("a", "anna", big("two")), false)
}

// Uploads at the same time count before their bytes are here.
func TestUploadsAtTheSameTimeAreLimited(t *testing.T) {
	c := start(t, []string{"a"}, nil, time.Hour)
	gate := make(chan struct{})
	var begun sync.WaitGroup
	var stored, limited atomic.Int32
	var wg sync.WaitGroup
	for i := range 2 {
		text := big(string(rune('a' + i)))
		begun.Add(1)
		wg.Go(func() {
			r := io.MultiReader(strings.NewReader(text[:10]), held{&begun, gate}, strings.NewReader(text[10:]))
			if _, err := c.keepers["a"].Upload(t.Context(), "anna", sum(text), int64(len(text)), r); err != nil {
				t.Error(err)
			}
			stored.Add(1)
		})
	}
	begun.Wait()
	for i := range 5 {
		wg.Go(func() {
			var limit *blobs.LimitError
			if err := c.upload("a", "anna", big(string(rune('p'+i)))); errors.As(err, &limit) {
				limited.Add(1)
			}
		})
	}
	wait(t, "the others are refused", func() bool { return limited.Load() == 5 })
	close(gate)
	wg.Wait()
	if stored.Load() != 2 {
		t.Errorf("%d stored", stored.Load())
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

// held tells once that it was reached, and waits.
type held struct {
	reached *sync.WaitGroup
	gate    chan struct{}
}

func (h held) Read([]byte) (int, error) {
	h.reached.Done()
	<-h.gate
	return 0, io.EOF
}
