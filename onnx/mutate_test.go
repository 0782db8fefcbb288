package onnx

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/graft-onnx/graft/internal/testutil"
	"github.com/graft-onnx/graft/onnx/pb"
)

// mutations is how many damaged models the tests below look at;
// GRAFT_MUTATIONS asks for more.
func mutations(t testing.TB, usual int) int {
	if text := os.Getenv("GRAFT_MUTATIONS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("GRAFT_MUTATIONS: %v", err)
		}
		return n
	}
	if testing.Short() {
		return usual / 10
	}
	return usual
}

// seedModels are small models that between them use every message of the
// format.
func seedModels(t testing.TB) []*Model {
	t.Helper()
	rich := smallModel(t)
	flag, err := NewIntTensor("flag", pb.TensorProto_BOOL, nil, []int64{1})
	if err != nil {
		t.Fatal(err)
	}
	half, err := NewTensor("half", pb.TensorProto_FLOAT16, []int{4}, []float32{1, 2, 3, 4})
	if err != nil {
		t.Fatal(err)
	}
	body := func(op string) *pb.GraphProto {
		return &pb.GraphProto{Name: op, Node: []*pb.NodeProto{{OpType: op, Input: []string{"sum"}, Output: []string{"r_" + op}}},
			Output: []*pb.ValueInfoProto{{Name: "r_" + op}}}
	}
	g := rich.Graph
	g.Initializer = append(g.Initializer, flag, half,
		&pb.TensorProto{Name: "typed", Dims: []int64{3}, DataType: int32(pb.TensorProto_INT64), Int64Data: []int64{-1, 300, 1 << 40}},
		&pb.TensorProto{Name: "text", Dims: []int64{2}, DataType: int32(pb.TensorProto_STRING), StringData: [][]byte{[]byte("a"), []byte("b")}})
	g.SparseInitializer = []*pb.SparseTensorProto{{
		Values: NewFloats("sparse", []int{2}, []float32{1, 2}), Indices: NewInts("", []int{2, 2}, []int64{0, 1, 1, 0}), Dims: []int64{2, 2}}}
	g.Node = append(g.Node, &pb.NodeProto{OpType: "If", Input: []string{"flag"}, Output: []string{"chosen"},
		Attribute: []*pb.AttributeProto{GraphAttr("then_branch", body("Relu")), GraphAttr("else_branch", body("Sigmoid"))}})
	g.ValueInfo = []*pb.ValueInfoProto{tensorType("y", float32Type, 1, 2, 8, 8)}
	rich.TrainingInfo = []*pb.TrainingInfoProto{{Initialization: &pb.GraphProto{Name: "state", Initializer: []*pb.TensorProto{NewInts("step", nil, []int64{7})}},
		InitializationBinding: []*pb.StringStringEntryProto{{Key: "step", Value: "step"}}}}
	rich.SetMetadata("key", "value")
	if err := Check(rich); err != nil {
		t.Fatal(err)
	}

	b := NewBuilder("shapes", 13)
	x := b.Input("x", float32Type, "N", 3, "H", "W")
	s := b.Op("Shape", "s", []string{x})
	two := b.Initializer(NewInts("two", []int{1}, []int64{2}))
	big := b.Initializer(NewInts("big", []int{1}, []int64{math.MaxInt64}))
	hw := b.Op("Slice", "hw", []string{s, two, big})
	w := b.Initializer(NewFloats("w", []int{4, 3, 3, 3}, make([]float32, 108)))
	c := b.Op("Conv", "c", []string{x, w}, IntsAttr("strides", 2, 2), IntsAttr("pads", 1, 1, 1, 1))
	n := b.Op("Slice", "n", []string{s, b.Initializer(NewInts("zero", []int{1}, []int64{0})), b.Initializer(NewInts("one", []int{1}, []int64{1}))})
	sizes := b.Op("Concat", "sizes", []string{n, b.Initializer(NewInts("four", []int{1}, []int64{4})), hw}, IntAttr("axis", 0))
	r := b.Op("Resize", "r", []string{c, "", "", sizes}, StringAttr("mode", "linear"))
	p := b.Op("MaxPool", "p", []string{r}, IntsAttr("kernel_shape", 3, 3), IntsAttr("strides", 2, 2))
	t1 := b.Op("Transpose", "t1", []string{p}, IntsAttr("perm", 0, 2, 3, 1))
	k := b.Op("Constant", "k", nil, TensorAttr("value", NewFloats("", []int{4}, []float32{1, 2, 3, 4})))
	m := b.Op("Mul", "m", []string{t1, k})
	f := b.Op("Reshape", "f", []string{m, b.Initializer(NewInts("flat", []int{2}, []int64{0, -1}))})
	b.Output(b.Op("Softmax", "out", []string{f}, IntAttr("axis", 1)), float32Type, "N", nil)
	shapes, err := b.Model()
	if err != nil {
		t.Fatal(err)
	}
	return []*Model{smallModel(t), rich, shapes}
}

// digest reads a model as the rest of the program would. Its errors are of no
// interest, only that it comes back.
func digest(m *Model) {
	if Check(m) == nil { // what the passes ask of a model
		_, _ = Infer(m)
		_, _ = Inline(m, IsKernelFunction)
		_, _ = Upgrade(m, 18)
		_, _, _ = Specialize(m, map[string][]int{"x": {1, 3, 8, 8}})
	}
	_, _ = Sort(m)
	_ = eachTensor(m.ModelProto, func(_ *pb.NodeProto, t *pb.TensorProto) error {
		_, _ = Floats(t)
		_, _ = Ints(t)
		_ = Dims(t)
		return nil
	})
	_ = m.Inputs()
}

// survives runs f and reports panics, long runs and much memory: at most limit
// bytes, if limit is not 0.
func survives(t *testing.T, what string, limit uint64, f func()) {
	t.Helper()
	var before, after runtime.MemStats
	if limit > 0 {
		runtime.ReadMemStats(&before)
	}
	start := time.Now()
	defer func() {
		if r := recover(); r != nil {
			stack := make([]byte, 4096)
			t.Fatalf("%s: panic: %v\n%s", what, r, stack[:runtime.Stack(stack, false)])
		}
		if d := time.Since(start); d > 10*time.Second {
			t.Errorf("%s: takes %v", what, d)
		}
		if limit > 0 {
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > limit {
				t.Errorf("%s: allocates %d bytes, limit %d", what, n, limit)
			}
		}
	}()
	f()
}

// Damaged files are refused or read, never more.
func TestMutatedFiles(t *testing.T) {
	var files [][]byte
	for _, m := range seedModels(t) {
		files = append(files, marshal(t, m))
	}
	n, accepted := mutations(t, 3000), 0
	for i := range n {
		rng := rand.New(rand.NewPCG(uint64(i), 1))
		data := testutil.Mutate(rng, files[i%len(files)], files...)
		survives(t, fmt.Sprintf("mutation %d", i), freeMemory+maxGrowth*uint64(len(data)), func() {
			if m, err := Parse(data, ""); err == nil {
				accepted++
				digest(m)
			}
		})
	}
	if accepted == 0 || accepted == n {
		t.Errorf("%d of %d damaged files are accepted: the damage shows nothing", accepted, n)
	}
}

// Models whose bytes are whole but whose fields make no sense go through
// everything behind the parser.
func TestMutatedModels(t *testing.T) {
	seeds := seedModels(t)
	n, valid := mutations(t, 3000), 0
	for i := range n {
		rng := rand.New(rand.NewPCG(uint64(i), 2))
		m := seeds[i%len(seeds)].Clone()
		for range 1 + rng.IntN(3) {
			mutateMessage(rng, m.ProtoReflect())
		}
		if Check(m) == nil {
			valid++
		}
		survives(t, fmt.Sprintf("mutation %d", i), 256<<20, func() {
			digest(m)
			data, err := m.marshal("")
			if err != nil {
				return
			}
			if back, err := Parse(data, ""); err == nil {
				digest(back)
			}
		})
	}
	if valid == 0 || valid == n {
		t.Errorf("%d of %d changed models are valid: the changes show nothing", valid, n)
	}
}

// mutateMessage changes one field somewhere in a message.
func mutateMessage(rng *rand.Rand, msg protoreflect.Message) {
	fields := msg.Descriptor().Fields()
	fd := fields.Get(rng.IntN(fields.Len()))
	if rng.IntN(4) > 0 { // mostly change what is there
		var set []protoreflect.FieldDescriptor
		for i := range fields.Len() {
			if msg.Has(fields.Get(i)) {
				set = append(set, fields.Get(i))
			}
		}
		if len(set) > 0 {
			fd = set[rng.IntN(len(set))]
		}
	}
	isMessage := fd.Kind() == protoreflect.MessageKind
	switch {
	case fd.IsList():
		mutateList(rng, msg.Mutable(fd).List(), fd, isMessage)
	case isMessage && (!msg.Has(fd) || rng.IntN(10) > 0):
		mutateMessage(rng, msg.Mutable(fd).Message())
	case rng.IntN(4) == 0:
		msg.Clear(fd)
	case !isMessage:
		msg.Set(fd, extremeValue(rng, fd))
	default:
		msg.Clear(fd)
	}
}

func mutateList(rng *rand.Rand, list protoreflect.List, fd protoreflect.FieldDescriptor, isMessage bool) {
	n := list.Len()
	if n > 0 && isMessage && rng.IntN(4) > 0 {
		mutateMessage(rng, list.Get(rng.IntN(n)).Message())
		return
	}
	switch kind := rng.IntN(5); {
	case n > 0 && kind == 0: // one less
		list.Truncate(n - 1)
	case n > 1 && kind == 1: // two change places
		i, j := rng.IntN(n), rng.IntN(n)
		a, b := list.Get(i), list.Get(j)
		list.Set(i, b)
		list.Set(j, a)
	case n > 0 && kind == 2: // one comes twice
		v := list.Get(rng.IntN(n))
		if isMessage {
			v = protoreflect.ValueOfMessage(proto.Clone(v.Message().Interface()).ProtoReflect())
		}
		list.Append(v)
	case isMessage:
		list.Append(list.NewElement())
	case n > 0 && kind == 3:
		list.Set(rng.IntN(n), extremeValue(rng, fd))
	default:
		list.Append(extremeValue(rng, fd))
	}
}

// extremeValue is a value that programs stumble over.
func extremeValue(rng *rand.Rand, fd protoreflect.FieldDescriptor) protoreflect.Value {
	ints := []int64{0, 1, -1, 2, 3, 7, 1 << 20, 1 << 31, math.MaxInt64, math.MinInt64}
	v := ints[rng.IntN(len(ints))]
	names := []string{"", "x", "y", "sum", "w", "nowhere", "Conv", "Resize", "Reshape", "Twice", "graft.test", "\x00"}
	switch fd.Kind() {
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(v)
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(v))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(uint64(v))
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(v % 30))
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32([]float32{0, -1, float32(math.NaN()), float32(math.Inf(1)), 1e30}[rng.IntN(5)])
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(math.NaN())
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(make([]byte, rng.IntN(20)))
	}
	return protoreflect.ValueOfString(names[rng.IntN(len(names))])
}

// FuzzParse looks for files that break the reader.
func FuzzParse(f *testing.F) {
	for _, m := range seedModels(f) {
		f.Add(marshal(f, m))
	}
	f.Add(nested(5))
	f.Add([]byte("<!DOCTYPE html>"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Parse(data, "")
		if err != nil {
			return
		}
		digest(m)
		// What has been read can be written and read again.
		back, err := Parse(marshal(t, m), "")
		if err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(m.ModelProto, back.ModelProto) {
			t.Error("the model comes back changed")
		}
	})
}
