package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/graft-onnx/graft/graph"
	"github.com/graft-onnx/graft/graph/kernel/native"
	"github.com/graft-onnx/graft/internal/testutil"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
	"github.com/graft-onnx/graft/train/config"
	"github.com/graft-onnx/graft/train/data"
)

// Bounds on what reading one damaged file of a few hundred kilobytes may take.
const (
	mutationTime   = 20 * time.Second // on a machine that does much else
	mutationMemory = 512 << 20        // bytes allocated, not held
)

// reader is a kind of file, and what reads it: damage number i is read and
// refused, or read as something that makes sense.
type reader struct {
	kind  string
	count int
	read  func(t *testing.T, rng *rand.Rand, i int) error
}

// 20,000 damaged files of the four kinds that a user hands to graft go through
// the functions that the commands call. None may panic, hang or take more than
// a bounded amount of memory, and some of each kind must be read, some refused.
func TestTwentyThousandMutations(t *testing.T) {
	readers := []reader{modelReader(t), listReader(t), configReader(), pictureReader(t)}
	total := 0
	for _, r := range readers {
		total += r.count
	}
	if total != 20000 {
		t.Fatalf("%d mutations", total)
	}
	if testing.Short() {
		for i := range readers {
			readers[i].count /= 10
		}
	}
	for _, r := range readers {
		t.Run(r.kind, func(t *testing.T) {
			dog := newWatchdog()
			defer dog.stop()
			var before, after runtime.MemStats
			accepted, largest := 0, uint64(0)
			for i := range r.count {
				what := fmt.Sprintf("%s mutation %d", r.kind, i)
				rng := rand.New(rand.NewPCG(uint64(i), uint64(len(r.kind))))
				dog.watch(what)
				runtime.ReadMemStats(&before)
				err := survive(t, what, func() error { return r.read(t, rng, i) })
				runtime.ReadMemStats(&after)
				if err == nil {
					accepted++
				}
				used := after.TotalAlloc - before.TotalAlloc
				if used > mutationMemory {
					t.Errorf("%s allocates %d bytes (%v)", what, used, err)
				}
				largest = max(largest, used)
			}
			t.Logf("%d of %d accepted, at most %d KiB allocated", accepted, r.count, largest>>10)
			if accepted == 0 || accepted == r.count {
				t.Error("the damage is all of one kind")
			}
		})
	}
}

// survive turns a panic into a failure that names the case.
func survive(t *testing.T, what string, f func() error) (err error) {
	t.Helper()
	defer func() {
		if p := recover(); p != nil {
			t.Errorf("%s panics: %v\n%s", what, p, debug.Stack())
			err = errors.New("panic")
		}
	}()
	return f()
}

// watchdog ends the program, with the stacks of all goroutines, when a case
// takes too long.
type watchdog struct {
	since atomic.Int64
	what  atomic.Value
	done  chan struct{}
}

func newWatchdog() *watchdog {
	d := &watchdog{done: make(chan struct{})}
	d.watch("the start")
	go func() {
		for {
			select {
			case <-d.done:
				return
			case <-time.After(time.Second):
				if took := time.Since(time.Unix(0, d.since.Load())); took > mutationTime {
					debug.SetTraceback("all")
					panic(fmt.Sprintf("%v hangs: %v so far", d.what.Load(), took))
				}
			}
		}
	}()
	return d
}

func (d *watchdog) watch(what string) {
	d.what.Store(what)
	d.since.Store(time.Now().UnixNano())
}

func (d *watchdog) stop() { close(d.done) }

// modelReader damages the bytes of models and, every other time, a field of
// one, and follows what is accepted down to a plan of its computation.
func modelReader(t *testing.T) reader {
	models := smallModels(t)
	var files [][]byte
	for _, m := range models {
		b, err := proto.Marshal(m.ModelProto)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, b)
	}
	path := filepath.Join(t.TempDir(), "m.onnx")
	dev := native.New(1)
	t.Cleanup(func() { dev.Close() })
	return reader{"onnx", 8000, func(t *testing.T, rng *rand.Rand, i int) error {
		var b []byte
		if i%2 == 0 {
			b = testutil.Mutate(rng, files[rng.IntN(len(files))], files...)
		} else {
			m := models[rng.IntN(len(models))].Clone()
			for range 1 + rng.IntN(3) {
				damage(rng, m.ModelProto)
			}
			var err error
			if b, err = proto.Marshal(m.ModelProto); err != nil {
				return err // a string that is not UTF-8
			}
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		m, err := onnx.Load(path)
		if err != nil {
			return err
		}
		if err := onnx.Check(m); err != nil {
			return err
		}
		if _, err := onnx.Infer(m); err != nil {
			return err
		}
		inputs := map[string][]int{}
		for _, in := range m.Inputs() {
			inputs[in.GetName()] = []int{1, 3, 16, 24}
		}
		if _, _, err := onnx.Specialize(m, inputs); err != nil {
			return err
		}
		network, err := graph.NewNetwork(m, dev)
		if err != nil {
			return err
		}
		network.SetMemoryLimit(mutationMemory / 4)
		plan, err := network.Plan(graph.Spec{Inputs: inputs})
		if err != nil {
			return err
		}
		if plan.ArenaSize() > 1<<22 {
			return nil
		}
		for name, shape := range inputs {
			n := 1
			for _, d := range shape {
				n *= d
			}
			if err := plan.SetInput(name, make([]float32, n)); err != nil {
				return err
			}
		}
		return plan.RunAll()
	}}
}

// smallModels are graphs of a few nodes that use every family of operators,
// and one whole network.
func smallModels(t *testing.T) []*onnx.Model {
	t.Helper()
	weights := func(b *onnx.Builder, name string, dims ...int) string {
		n := 1
		for _, d := range dims {
			n *= d
		}
		values := make([]float32, n)
		for i := range values {
			values[i] = float32(math.Sin(float64(i)))/4 + 0.5
		}
		return b.Initializer(onnx.NewFloats(name, dims, values))
	}
	ints := func(b *onnx.Builder, name string, values ...int64) string {
		return b.Initializer(onnx.NewInts(name, []int{len(values)}, values))
	}
	block := onnx.NewBuilder("block", 15)
	x := block.Input("image", pb.TensorProto_FLOAT, "N", 3, "H", "W")
	c := block.Op("Conv", "conv", []string{x, weights(block, "w", 4, 3, 3, 3)}, onnx.IntsAttr("strides", 2, 2), onnx.IntsAttr("pads", 1, 1, 1, 1))
	n := block.Op("BatchNormalization", "bn", []string{c, weights(block, "s", 4), weights(block, "b", 4), weights(block, "m", 4), weights(block, "v", 4)}, onnx.FloatAttr("epsilon", 1e-5))
	r := block.Op("Relu", "relu", []string{n})
	d := block.Op("Conv", "depthwise", []string{r, weights(block, "dw", 4, 1, 3, 3)}, onnx.IntAttr("group", 4), onnx.IntsAttr("dilations", 2, 2), onnx.IntsAttr("pads", 2, 2, 2, 2))
	a := block.Op("Add", "sum", []string{d, r})
	p := block.Op("MaxPool", "pool", []string{a}, onnx.IntsAttr("kernel_shape", 3, 3), onnx.IntsAttr("strides", 2, 2), onnx.IntsAttr("pads", 1, 1, 1, 1))
	up := block.Op("Resize", "up", []string{p, "", weights(block, "scales", 4)}, onnx.StringAttr("mode", "linear"))
	block.Output(block.Op("LogSoftmax", "logprob", []string{up}, onnx.IntAttr("axis", 1)), pb.TensorProto_FLOAT, "N", nil, nil, nil)

	head := onnx.NewBuilder("head", 13)
	x = head.Input("image", pb.TensorProto_FLOAT, "N", 3, "H", "W")
	g := head.Op("GlobalAveragePool", "gap", []string{x})
	f := head.Op("Reshape", "flat", []string{g, ints(head, "to", 0, -1)})
	m := head.Op("MatMul", "fc", []string{f, weights(head, "fc.weight", 3, 6)})
	left := head.Node("Split", []string{m, ints(head, "parts", 2, 4)}, []string{"left", "right"}, onnx.IntAttr("axis", 1))
	cat := head.Op("Concat", "cat", []string{left[1], left[0]}, onnx.IntAttr("axis", 1))
	cl := head.Op("Clip", "clip", []string{cat, head.Initializer(onnx.NewFloats("low", nil, []float32{0})), head.Initializer(onnx.NewFloats("high", nil, []float32{6}))})
	head.Output(head.Op("Softmax", "out", []string{cl}, onnx.IntAttr("axis", -1)), pb.TensorProto_FLOAT, "N", nil)

	shapes := onnx.NewBuilder("shapes", 13)
	x = shapes.Input("image", pb.TensorProto_FLOAT, "N", 3, "H", "W")
	s := shapes.Op("Shape", "shape", []string{x})
	hw := shapes.Op("Slice", "hw", []string{s, ints(shapes, "from", 2), ints(shapes, "end", 4)})
	nc := shapes.Op("Slice", "nc", []string{s, ints(shapes, "zero", 0), ints(shapes, "two", 2)})
	sizes := shapes.Op("Concat", "sizes", []string{nc, hw}, onnx.IntAttr("axis", 0))
	t1 := shapes.Op("Transpose", "nhwc", []string{x}, onnx.IntsAttr("perm", 0, 2, 3, 1))
	mean := shapes.Op("ReduceMean", "mean", []string{t1}, onnx.IntsAttr("axes", 3), onnx.IntAttr("keepdims", 1))
	t2 := shapes.Op("Transpose", "nchw", []string{mean}, onnx.IntsAttr("perm", 0, 3, 1, 2))
	pad := shapes.Op("Pad", "pad", []string{t2, ints(shapes, "pads", 0, 1, 0, 0, 0, 1, 0, 0)})
	shapes.Output(shapes.Op("Resize", "resized", []string{pad, "", "", sizes}, onnx.StringAttr("mode", "nearest")), pb.TensorProto_FLOAT, nil, nil, nil, nil)

	var list []*onnx.Model
	for _, b := range []*onnx.Builder{block, head, shapes} {
		one, err := b.Model()
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, one, one, one, one, one) // the whole network is slower
	}
	path := filepath.Join(t.TempDir(), "whole.onnx")
	ok(t, "new", "--encoder", "mobilenetv2dilated", "--decoder", "ppm_deepsup", "--width", "16", "--classes", "2", "-o", path)
	whole, err := loadModel(path)
	if err != nil {
		t.Fatal(err)
	}
	return append(list, whole)
}

// damage changes one field of a model that stays readable.
func damage(rng *rand.Rand, m *pb.ModelProto) {
	g := m.GetGraph()
	pick := func(list []string) *string { return &list[rng.IntN(len(list))] }
	numbers := []int64{0, 1, -1, 2, 3, 7, 64, 1 << 15, 1 << 31, math.MaxInt64, math.MinInt64}
	number := numbers[rng.IntN(len(numbers))]
	n := g.Node[rng.IntN(len(g.Node))]
	w := g.Initializer[rng.IntN(len(g.Initializer))]
	switch rng.IntN(12) {
	case 0, 1, 2: // another number in an attribute
		if len(n.Attribute) > 0 {
			a := n.Attribute[rng.IntN(len(n.Attribute))]
			a.I = proto.Int64(number)
			if len(a.Ints) > 0 {
				a.Ints[rng.IntN(len(a.Ints))] = number
			}
		}
	case 3: // one less, or one more
		if len(n.Attribute) > 0 {
			a := n.Attribute[rng.IntN(len(n.Attribute))]
			if len(a.Ints) > 0 && rng.IntN(2) == 0 {
				a.Ints = a.Ints[1:]
			} else {
				a.Ints = append(a.Ints, number)
			}
		}
	case 4: // an attribute missing
		if len(n.Attribute) > 0 {
			n.Attribute = n.Attribute[1:]
		}
	case 5, 6: // another input
		if len(n.Input) > 0 {
			other := g.Node[rng.IntN(len(g.Node))]
			*pick(n.Input) = append([]string{"", "image", w.GetName()}, other.Output...)[rng.IntN(4)]
		}
	case 7: // an input missing
		if len(n.Input) > 0 {
			n.Input = n.Input[:len(n.Input)-1]
		}
	case 8: // another operator
		n.OpType = g.Node[rng.IntN(len(g.Node))].OpType
	case 9: // another shape of a weight, with and without its data
		if len(w.Dims) > 0 {
			w.Dims[rng.IntN(len(w.Dims))] = number
		}
	case 10: // another shape of the input
		dims := g.Input[0].GetType().GetTensorType().GetShape().GetDim()
		dims[rng.IntN(len(dims))].Value = &pb.TensorShapeProto_Dimension_DimValue{DimValue: number}
	default: // other data, as sizes and scales are
		if raw := w.GetRawData(); len(raw) >= 8 {
			binary.LittleEndian.PutUint64(raw[8*rng.IntN(len(raw)/8):], uint64(number))
		}
	}
}

func listReader(t *testing.T) reader {
	f := fixtures(t)
	whole := []byte(read(t, f.data.ListTrain))
	path := filepath.Join(t.TempDir(), "l.odgt")
	return reader{"odgt", 4000, func(t *testing.T, rng *rand.Rand, _ int) error {
		if err := os.WriteFile(path, testutil.Mutate(rng, whole), 0o644); err != nil {
			t.Fatal(err)
		}
		set, err := data.OpenList(path, f.data.Root)
		if err != nil {
			return err
		}
		for _, r := range set.Records {
			if r.Image == "" || r.Width < 0 || r.Height < 0 {
				t.Errorf("accepted as %+v", r)
			}
		}
		return nil
	}}
}

func configReader() reader {
	files := &data.SynthFiles{Root: "data", ListTrain: "data/train.odgt", ListVal: "data/val.odgt", Classes: "data/classes.csv"}
	whole := []byte(configText(files, "run"))
	full := config.Default().YAML()
	return reader{"yaml", 4000, func(t *testing.T, rng *rand.Rand, i int) error {
		b := testutil.Mutate(rng, whole, full)
		cfg, err := config.Parse(b, "c.yaml")
		if err != nil {
			return err
		}
		again, err := config.Parse(cfg.YAML(), "again.yaml")
		if err != nil {
			t.Errorf("mutation %d is accepted, and refused once written: %v", i, err)
		} else if !bytes.Equal(again.YAML(), cfg.YAML()) {
			t.Errorf("mutation %d does not come back", i)
		}
		return nil
	}}
}

// pictureReader damages a picture, in PNG or JPEG, or its mask.
func pictureReader(t *testing.T) reader {
	f := fixtures(t)
	picture, mask := read(t, f.picture), read(t, filepath.Join(f.data.Root, "masks", "val", "00000.png"))
	img, _ := data.SynthPicture(data.SynthOptions{Width: 64, Height: 48, Seed: 3}, 8)
	var photo bytes.Buffer
	if err := jpeg.Encode(&photo, img, nil); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	files := map[string][]byte{"p.png": []byte(picture), "p.jpg": photo.Bytes(), "m.png": []byte(mask)}
	cfg := config.Default()
	cfg.Dataset.NumClass, cfg.Dataset.CacheMB, cfg.Dataset.MaxPixels = 5, 0, 1<<20
	r := data.NewReader(data.OptionsFrom(cfg))
	return reader{"image", 4000, func(t *testing.T, rng *rand.Rand, i int) error {
		record := data.Record{Name: "p", Image: filepath.Join(dir, []string{"p.png", "p.jpg"}[i%2]), Mask: filepath.Join(dir, "m.png")}
		damaged := []string{filepath.Base(record.Image), "m.png"}[i/2%2]
		for name, whole := range files {
			if name == damaged {
				whole = testutil.Mutate(rng, whole, photo.Bytes())
				if i%3 > 0 {
					repairPNG(whole)
				}
			}
			if err := os.WriteFile(filepath.Join(dir, name), whole, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		s, err := r.Read(record)
		if err != nil {
			return err
		}
		if p := s.Picture; len(p.Pix) != 3*p.Width*p.Height || len(s.Mask.Pix) != p.Width*p.Height {
			t.Errorf("mutation %d: %d bytes and %d labels for %d x %d", i, len(p.Pix), len(s.Mask.Pix), p.Width, p.Height)
		}
		return nil
	}}
}

// repairPNG sets the checksums of chunks right, so that damage reaches what
// lies behind them.
func repairPNG(b []byte) {
	for at := 8; at+12 <= len(b); {
		n := int(binary.BigEndian.Uint32(b[at:]))
		if n > len(b)-at-12 {
			return
		}
		binary.BigEndian.PutUint32(b[at+8+n:], crc32.ChecksumIEEE(b[at+4:at+8+n]))
		at += 12 + n
	}
}
