package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/graft-onnx/graft/graph/kernel"
)

// ceiling is the most that a device does of one kind of work.
type ceiling struct {
	Name string  `json:"name"`
	Rate float64 `json:"rate"`
	Unit string  `json:"unit"` // "GFLOP/s" or "GB/s"
}

// workload is a kernel call that shows a ceiling.
type workload struct {
	name string
	desc kernel.Desc
}

// workloads returns the calls that `graft doctor --bench` times: the product of
// square matrices of the given order, a convolution like those that
// segmentation networks have most of (order is 24 or more), and the scaling and
// the copy of a tensor of so many bytes.
func workloads(order, bytes int) []workload {
	n, side, channels := bytes/4, order/24, order/12
	return []workload{
		{fmt.Sprintf("matrix product, %d x %d", order, order), kernel.MatMul{Batch: 1, M: order, N: order, K: order}},
		{fmt.Sprintf("convolution 3x3, %d channels, 4 x %d x %d", channels, side, side), kernel.Conv{Geometry: kernel.Geometry{
			N: 4, C: channels, H: side, W: side, O: channels, OH: side, OW: side, KH: 3, KW: 3, StrideH: 1, StrideW: 1,
			DilationH: 1, DilationW: 1, PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1, Groups: 1,
		}}},
		{fmt.Sprintf("scaling of %d MiB", bytes>>20), kernel.Unary{Op: kernel.Affine, Alpha: 0.5, Len: n}},
		{fmt.Sprintf("copy of %d MiB", bytes>>20), kernel.Copy{Shape: []int{n}, SrcStrides: []int{1}, DstStrides: []int{1}, SrcLen: n, DstLen: n}},
	}
}

// measureCeilings runs every workload once to warm up and then for the time
// given, twice at least, and keeps the fastest run.
func measureCeilings(ctx context.Context, dev kernel.Device, list []workload, each time.Duration) ([]ceiling, error) {
	var found []ceiling
	for _, l := range list {
		best, err := fastest(ctx, dev, l.desc, each)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", l.name, err)
		}
		c := ceiling{Name: l.name, Unit: "GB/s"}
		if w, ok := l.desc.(kernel.Coster); ok {
			c.Unit = "GFLOP/s"
			c.Rate = w.FLOPs() / float64(best.Nanoseconds())
		} else {
			bytes := 0 // every operand is read once, every result written once
			for _, a := range l.desc.Args() {
				bytes += a.Size()
			}
			c.Rate = float64(bytes) / float64(best.Nanoseconds())
		}
		found = append(found, c)
	}
	return found, nil
}

func fastest(ctx context.Context, dev kernel.Device, d kernel.Desc, each time.Duration) (time.Duration, error) {
	k, err := dev.Compile(d)
	if err != nil {
		return 0, err
	}
	var args []kernel.Buffer
	for i, a := range d.Args() {
		b, err := dev.Alloc(a.Size())
		if err != nil {
			return 0, err
		}
		if a.Dir == kernel.In {
			// Memory that was never written may be one page of zeros.
			data := make([]float32, kernel.Len(a.Shape))
			for j := range data {
				data[j] = float32(j%13-6) / float32(7+i)
			}
			if err := dev.Upload(b, kernel.Bytes(data)); err != nil {
				return 0, err
			}
		}
		args = append(args, b)
	}
	if n := k.Scratch(); n > 0 {
		b, err := dev.Alloc(n)
		if err != nil {
			return 0, err
		}
		args = append(args, b)
	}
	best := time.Duration(math.MaxInt64)
	var end time.Time
	for run := 0; run < 3 || time.Now().Before(end); run++ {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		begin := time.Now()
		if err := dev.Do(func() error { return k.Run(args) }); err != nil {
			return 0, err
		}
		if run == 0 {
			end = time.Now().Add(each)
			continue
		}
		best = min(best, max(time.Since(begin), 1))
	}
	return best, nil
}

func writeCeilings(w io.Writer, device string, list []ceiling) {
	fmt.Fprintf(w, "\nfastest of a few runs on %s:\n", device)
	for _, c := range list {
		fmt.Fprintf(w, "  %7.1f %-8s %s\n", c.Rate, c.Unit, c.Name)
	}
}
