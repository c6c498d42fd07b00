package segmenter

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"scaleout/fsm/command"
	"scaleout/fsm/segment"
)

// A segment below mergeSmall is merged, and mergeMost of them become one at most.
const (
	mergeSmall = segment.SoftSize / 4
	mergeMost  = 64
)

// small is a segment that is small enough to be merged, with its parts that the state still names.
type small struct {
	digest string
	size   int64
	parts  []int
}

// Merge packs the small segments of the state into larger ones of up to a megabyte, in the order of the state. Parts
// that the state does not name any more are left out.
func (p *Packer) Merge(ctx context.Context) error {
	smalls := p.smalls()
	for len(smalls) > 1 {
		n, bytes := 0, int64(0)
		for n < len(smalls) && n < mergeMost && bytes+smalls[n].size <= segment.SoftSize {
			bytes += smalls[n].size
			n++
		}
		if n < 2 {
			n = 1
		} else if err := p.merge(ctx, smalls[:n]); err != nil {
			return err
		}
		smalls = smalls[n:]
	}
	return nil
}

// smalls returns the small segments of the state, each part once.
func (p *Packer) smalls() []small {
	reader := p.state.Reader()
	var list []small
	for s := range reader.Segments() {
		if s.Size >= mergeSmall {
			continue
		}
		one := small{digest: s.Digest, size: s.Size}
		for r := range reader.SegmentRuns(s.Digest) {
			one.parts = append(one.parts, r.Part)
		}
		slices.Sort(one.parts)
		one.parts = slices.Compact(one.parts)
		list = append(list, one)
	}
	return list
}

func (p *Packer) merge(ctx context.Context, smalls []small) error {
	cmd := &command.MergeSegments{}
	files := make([]*segment.File, len(smalls))
	var picks []segment.Pick
	for i, s := range smalls {
		r, err := p.store.Open(ctx, s.digest)
		if err != nil {
			return fmt.Errorf("segment %s: %w", s.digest, err)
		}
		files[i], err = segment.Open(r)
		r.Close()
		if err != nil {
			return fmt.Errorf("segment %s: %w", s.digest, err)
		}
		cmd.Sources = append(cmd.Sources, s.digest)
		for _, part := range s.parts {
			picks = append(picks, segment.Pick{Source: i, Part: part})
			cmd.Moves = append(cmd.Moves, command.SegmentMove{Source: i, Part: part})
		}
	}
	raw, err := segment.Merge(files, picks)
	if err != nil {
		return err
	}
	if cmd.Segment, cmd.Size, err = p.store.Store(ctx, bytes.NewReader(raw), segment.MaxPlain); err != nil {
		return err
	}
	env, err := command.Wrap(cmd)
	if err != nil {
		return err
	}
	env.Caller = command.Caller{Kind: "master", Name: "messages"}
	result, _, err := p.propose.Propose(ctx, env)
	if err == nil && result.Rejection != nil {
		err = result.Rejection
	}
	return err
}
