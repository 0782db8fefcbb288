package train

import "github.com/graft-onnx/graft/train/data"

// takeBatches waits for the next n batches.
func takeBatches(stream *data.Stream[*data.Batch], n int) ([]*data.Batch, error) {
	batches := make([]*data.Batch, n)
	for i := range batches {
		var err error
		if batches[i], err = stream.Next(); err != nil {
			return nil, err
		}
	}
	return batches, nil
}

// inputs are batches as a Trainer takes them.
func inputs(batches []*data.Batch) []Batch {
	out := make([]Batch, len(batches))
	for i, b := range batches {
		out[i] = Batch{b.Images, []int{b.N, 3, b.H, b.W}, b.Labels}
	}
	return out
}

// names are those of the pictures of all batches.
func names(batches []*data.Batch) []string {
	var out []string
	for _, b := range batches {
		out = append(out, b.Names...)
	}
	return out
}
