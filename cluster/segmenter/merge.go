package segmenter

import (
	"bytes"
	"context"
	"fmt"

	"scaleout/fsm/command"
	"scaleout/fsm/segment"
)

// Small is a segment that is small enough to be merged, with its parts that the state still names, in any order.
type Small struct {
	Digest string
	Size   int64
	Parts  []int
}

// MergeSmall is the size below which a segment is merged, and mergeMost how many become one.
const (
	MergeSmall = segment.SoftSize / 4
	mergeMost  = 64
)

// Merge packs small segments into larger ones of up to a megabyte. smalls must be in the order of the state.
func (p *Packer) Merge(ctx context.Context, smalls []Small) error {
	for len(smalls) > 1 {
		n, bytes := 0, int64(0)
		for n < len(smalls) && n < mergeMost && bytes+smalls[n].Size <= segment.SoftSize {
			bytes += smalls[n].Size
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

func (p *Packer) merge(ctx context.Context, smalls []Small) error {
	cmd := &command.MergeSegments{}
	files := make([]*segment.File, len(smalls))
	var picks []segment.Pick
	for i, s := range smalls {
		r, err := p.store.Open(ctx, s.Digest)
		if err != nil {
			return fmt.Errorf("segment %s: %w", s.Digest, err)
		}
		files[i], err = segment.Open(r)
		r.Close()
		if err != nil {
			return fmt.Errorf("segment %s: %w", s.Digest, err)
		}
		cmd.Sources = append(cmd.Sources, s.Digest)
		for _, part := range s.Parts {
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
