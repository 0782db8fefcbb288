package events

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/graft-onnx/graft/train/history"
)

// published holds the messages with the field numbers that TensorFlow's
// event.proto and summary.proto give them.
const published = `syntax = "proto3";
package published;
message Event {
  double wall_time = 1;
  int64 step = 2;
  oneof what { string file_version = 3; bytes graph_def = 4; Summary summary = 5; SessionLog session_log = 7; }
}
message SessionLog {
  enum Status { UNSPECIFIED = 0; START = 1; STOP = 2; CHECKPOINT = 3; }
  Status status = 1;
}
message Summary {
  message Image { int32 height = 1; int32 width = 2; int32 colorspace = 3; bytes encoded_image_string = 4; }
  message Value { string tag = 1; oneof value { float simple_value = 2; Image image = 4; } }
  repeated Value value = 1;
}`

// messages compiles published.
func messages(t *testing.T) protoreflect.MessageDescriptor {
	t.Helper()
	c := protocompile.Compiler{Resolver: &protocompile.SourceResolver{
		Accessor: protocompile.SourceAccessorFromMap(map[string]string{"event.proto": published})}}
	files, err := c.Compile(context.Background(), "event.proto")
	if err != nil {
		t.Fatal(err)
	}
	return files[0].Messages().ByName("Event")
}

// crc is the CRC-32C by its definition, bit by bit, masked.
func crc(b []byte) uint32 {
	c := ^uint32(0)
	for _, v := range b {
		c ^= uint32(v)
		for range 8 {
			low := c & 1
			c >>= 1
			if low == 1 {
				c ^= 0x82f63b78
			}
		}
	}
	c = ^c
	return (c>>15 | c<<17) + 0xa282ead8
}

// told is everything that the files of a folder tell, a line a value.
func told(t *testing.T, dir string) []string {
	t.Helper()
	event := messages(t)
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 || !strings.HasPrefix(files[0].Name(), "events.out.tfevents.") {
		t.Fatalf("files %v, %v; want one", files, err)
	}
	b, err := os.ReadFile(filepath.Join(dir, files[0].Name()))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for first := true; len(b) > 0; first = false {
		n := binary.LittleEndian.Uint64(b)
		if got, want := binary.LittleEndian.Uint32(b[8:]), crc(b[:8]); got != want {
			t.Fatalf("checksum of the length %x, want %x", got, want)
		}
		content := b[12 : 12+n]
		if got, want := binary.LittleEndian.Uint32(b[12+n:]), crc(content); got != want {
			t.Fatalf("checksum of the content %x, want %x", got, want)
		}
		b = b[16+n:]
		m := dynamicpb.NewMessage(event)
		if err := proto.Unmarshal(content, m); err != nil {
			t.Fatal(err)
		}
		if len(m.GetUnknown()) > 0 {
			t.Fatalf("unknown fields in %v", m)
		}
		field := func(m protoreflect.Message, name string) protoreflect.Value {
			return m.Get(m.Descriptor().Fields().ByName(protoreflect.Name(name)))
		}
		has := func(m protoreflect.Message, name string) bool {
			return m.Has(m.Descriptor().Fields().ByName(protoreflect.Name(name)))
		}
		if at := field(m, "wall_time").Float(); at < 1.7e9 || at > 1e11 {
			t.Errorf("time %g", at)
		}
		step := field(m, "step").Int()
		if version := field(m, "file_version").String(); first != (version == "brain.Event:2") || first == has(m, "summary") && !has(m, "session_log") {
			t.Errorf("version %q, first %t", version, first)
		}
		if has(m, "session_log") {
			lines = append(lines, fmt.Sprintf("%d start %d", step, field(field(m, "session_log").Message(), "status").Enum()))
		}
		list := field(field(m, "summary").Message(), "value").List()
		for i := range list.Len() {
			v := list.Get(i).Message()
			line := fmt.Sprintf("%d %s ", step, field(v, "tag").String())
			if has(v, "image") {
				image := field(v, "image").Message()
				line += fmt.Sprintf("%dx%d of %d: %s", field(image, "width").Int(), field(image, "height").Int(), field(image, "colorspace").Int(), field(image, "encoded_image_string").Bytes())
			} else {
				line += fmt.Sprint(float32(field(v, "simple_value").Float()))
			}
			lines = append(lines, line)
		}
	}
	return lines
}

func record(i int) history.Record {
	return history.Record{Iteration: i, Epoch: float64(i+1) / 4, Loss: 0.5 + float64(i), LossMain: 0.25, Accuracy: 0.5, LREncoder: 0.125, LRDecoder: 2,
		DataSeconds: 0.0625, StepSeconds: 4}
}

func evaluation(i int) history.Evaluation {
	return history.Evaluation{Iteration: i, Accuracy: 0.5, MeanIoU: 0.25, MeanIoUPresent: math.NaN(), Seconds: 2, IoU: []float64{0.75, math.NaN(), 0.5}}
}

// session trains from an iteration to another, with an evaluation every second
// one, and closes the log.
func session(t *testing.T, dir string, from, to int) {
	t.Helper()
	l := open(t, dir, from)
	for i := from; i < to; i++ {
		if err := l.Record(record(i)); err != nil {
			t.Fatal(err)
		}
		if (i+1)%2 == 0 {
			if err := l.Evaluation(evaluation(i+1), []Image{{Tag: "a.png", Width: 3, Height: 2, PNG: fmt.Append(nil, "picture", i+1)}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// open goes on at an iteration, whose evaluation is done.
func open(t *testing.T, dir string, iteration int) *Log {
	t.Helper()
	h := &history.History{}
	for i := range iteration {
		h.Records = append(h.Records, record(i))
		if (i+1)%2 == 0 {
			h.Evaluations = append(h.Evaluations, evaluation(i+1))
		}
	}
	l, err := Open(dir, h, []string{"sky", "sea", "sky"})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// want is what a folder tells after so many iterations.
func want(iterations int, picture func(step int) bool) []string {
	var lines []string
	for i := range iterations {
		for _, v := range []string{fmt.Sprintf("loss %g", 0.5+float64(i)), "loss_main 0.25", "accuracy 0.5", "lr_encoder 0.125", "lr_decoder 2",
			"data_seconds 0.0625", "step_seconds 4", fmt.Sprintf("epoch %g", float64(i+1)/4)} {
			lines = append(lines, fmt.Sprintf("%d train/%s", i+1, v))
		}
		if step := i + 1; step%2 == 0 {
			for _, v := range []string{"mean_iou 0.25", "accuracy 0.5", "seconds 2", "iou/sky 0.75", "iou/sky 2 0.5"} {
				lines = append(lines, fmt.Sprintf("%d validation/%s", step, v))
			}
			if picture(step) {
				lines = append(lines, fmt.Sprintf("%d samples/a.png 3x2 of 3: picture%d", step, step))
			}
		}
	}
	return lines
}

func always(int) bool { return true }

func compare(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// The files can be read by the published format alone.
func TestPublishedFormat(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a [run]", "tensorboard")
	session(t, dir, 0, 5)
	compare(t, told(t, dir), want(5, always))
	// The check value that CRC-32C is published with, for both ways.
	if a, b := masked([]byte("123456789")), crc([]byte("123456789")); a != b || a != (0xe3069283>>15|0xe3069283<<17&0xffffffff)+0xa282ead8&0xffffffff {
		t.Errorf("checksums %x, %x", a, b)
	}
}

// A folder that a run goes on with holds every step once.
func TestResumedFolderHasEachStepOnce(t *testing.T) {
	for _, tc := range []struct {
		name           string
		killed, resume int
		damage         func([]byte) []byte
		picture        func(step int) bool
	}{
		{"where it stopped", 4, 4, nil, always},
		{"before it was killed", 6, 3, nil, always},
		{"torn", 4, 4, func(b []byte) []byte { return append(b, b[:20]...) }, always},
		{"torn length", 4, 4, func(b []byte) []byte { return append(b, 1, 2, 3) }, always},
		{"cut short", 4, 4, func(b []byte) []byte { return b[:len(b)-1] }, func(step int) bool { return step != 4 }},
		{"empty", 4, 4, func([]byte) []byte { return nil }, func(step int) bool { return step > 4 }},
		{"zeros", 4, 4, func(b []byte) []byte { clear(b); return b }, func(step int) bool { return step > 4 }},
		{"from the start", 3, 0, nil, always},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			other := filepath.Join(dir, "events.out.tfevents.1.other")
			session(t, dir, 0, tc.killed)
			if tc.damage != nil {
				names, _ := filepath.Glob(filepath.Join(dir, "*"))
				b, err := os.ReadFile(names[0])
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(names[0], tc.damage(b), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(other, []byte("of another program"), 0o644); err != nil {
				t.Fatal(err)
			}
			session(t, dir, tc.resume, 8)
			if b, err := os.ReadFile(other); err != nil || string(b) != "of another program" {
				t.Errorf("another program's file: %q, %v", b, err)
			}
			os.Remove(other)
			all := want(8, tc.picture)
			if tc.resume > 0 {
				all = append([]string{"0 start 1"}, all...)
			}
			compare(t, told(t, dir), all)
		})
	}
}

// Opening twice in a second gives the later file the later name.
func TestNamesRise(t *testing.T) {
	dir := t.TempDir()
	last := ""
	for range 3 {
		if err := open(t, dir, 1).Close(); err != nil {
			t.Fatal(err)
		}
		names, _ := filepath.Glob(filepath.Join(dir, "*"))
		if len(names) != 1 || names[0] <= last {
			t.Errorf("%v after %s", names, last)
		}
		last = names[0]
	}
}

func TestClosedLog(t *testing.T) {
	l := open(t, t.TempDir(), 0)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Evaluation(evaluation(1), nil); err == nil || !strings.Contains(err.Error(), "events: ") {
		t.Errorf("writing to a closed log: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(filepath.Join(file, "below"), &history.History{}, nil); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a folder below a file: %v", err)
	}
}

// A frame is as long as it says, up to what is read at once.
func TestLongRecordIsRefused(t *testing.T) {
	b := binary.LittleEndian.AppendUint64(nil, math.MaxUint64)
	b = binary.LittleEndian.AppendUint32(b, masked(b))
	if _, err := readRecord(bytes.NewReader(b)); err == nil || !strings.Contains(err.Error(), "damaged record of") {
		t.Errorf("%v", err)
	}
}
