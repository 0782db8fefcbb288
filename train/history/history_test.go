package history

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func record(i int) Record {
	return Record{Iteration: i, Epoch: float64(i) / 3, Loss: 1 / (float64(i) + 0.7), Accuracy: 0.1 * float64(i),
		LREncoder: 0.02, LRDecoder: 0.04 / 3, DataSeconds: 1e-3, StepSeconds: 0.25, Height: 240, Width: 320}
}

// known is what a checkpoint holds of the first n records.
func known(n int) []Record {
	var out []Record
	for i := range n {
		out = append(out, record(i).Untimed())
	}
	return out
}

func run(t *testing.T, dir string, from, to int) *Log {
	t.Helper()
	l, err := Open(dir, from, known(from), 2)
	if err != nil {
		t.Fatal(err)
	}
	for i := from; i < to; i++ {
		if err := l.Append(record(i)); err != nil {
			t.Fatal(err)
		}
		if (i+1)%4 == 0 {
			if err := l.AppendEvaluation(Evaluation{Iteration: i + 1, Accuracy: 0.5, MeanIoUPresent: math.NaN(), IoU: []float64{0.25, math.NaN()}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	return l
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestResumedFilesAreTheUninterruptedOnes(t *testing.T) {
	whole := t.TempDir()
	if err := run(t, whole, 0, 12).Close(); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		killed int // iterations before the kill
		resume int // checkpointed
		tear   string
	}{
		{"clean", 8, 8, ""}, {"ahead of the checkpoint", 9, 5, ""}, {"torn line", 7, 7, "8,2.66"},
		{"torn but readable line", 7, 7, "8,1,1,1,1,1,1,1,1,1,1,1,1"}, {"evaluation at the checkpoint", 4, 4, ""}, {"from the start", 3, 0, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			l := run(t, dir, 0, tc.killed)
			if err := l.Flush(); err != nil {
				t.Fatal(err)
			}
			l.records.WriteString(tc.tear)
			l.records.Close()
			l.evaluations.Close()
			if err := run(t, dir, tc.resume, 12).Close(); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{RecordsFile, EvaluationsFile, JSONFile} {
				if got, want := read(t, dir, name), read(t, whole, name); got != want {
					t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
				}
			}
			if left, _ := filepath.Glob(filepath.Join(dir, ".*.tmp")); len(left) > 0 {
				t.Errorf("temporary files left: %v", left)
			}
		})
	}
}

func TestJSONRoundTrip(t *testing.T) {
	h := &History{Records: []Record{record(0), record(1)}, Evaluations: []Evaluation{{Iteration: 2, MeanIoU: 0.25, MeanIoUPresent: math.NaN(), IoU: []float64{0.5, math.NaN()}}}}
	h.Records[1].Loss = math.NaN()
	var b bytes.Buffer
	if err := h.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	if !strings.Contains(text, `"loss":null`) || !strings.Contains(text, `"mean_iou_present":null`) || !strings.Contains(text, `"iou":[0.5,null]`) {
		t.Errorf("absent figures are not null: %s", text)
	}
	back, err := ReadJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if !math.IsNaN(back.Records[1].Loss) || !math.IsNaN(back.Evaluations[0].MeanIoUPresent) || !math.IsNaN(back.Evaluations[0].IoU[1]) {
		t.Errorf("absent figures came back as %+v", back)
	}
	if !reflect.DeepEqual(back.Records[0], h.Records[0]) {
		t.Errorf("got %+v, want %+v", back.Records[0], h.Records[0])
	}
}

func TestCSVRoundTrip(t *testing.T) {
	h := &History{Records: []Record{record(0), record(1), record(2)}, Evaluations: []Evaluation{{Iteration: 2, MeanIoU: 1.0 / 3, IoU: []float64{1.0 / 7, 1}}}}
	var a, b bytes.Buffer
	if err := errors.Join(h.WriteRecords(&a), h.WriteEvaluations(&b)); err != nil {
		t.Fatal(err)
	}
	records, err := ReadRecords(&a, "a")
	if err != nil || !reflect.DeepEqual(records, h.Records) {
		t.Errorf("records: %v, %+v", err, records)
	}
	evaluations, err := ReadEvaluations(&b, "b")
	if err != nil || !reflect.DeepEqual(evaluations, h.Evaluations) {
		t.Errorf("evaluations: %v, %+v", err, evaluations)
	}
}

func TestForeignFiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"other header": "a,b\n1,2\n",
		"twice":        "iteration,loss,loss\n1,2,3\n",
		"bad middle":   strings.Join(header(recordColumns), ",") + "\n1,x,3,4,5,6,7,8,9,10,11,12,13\n2,2,3,4,5,6,7,8,9,10,11,12,13\n",
		"binary":       "\x00\x01\"\n",
	} {
		os.WriteFile(filepath.Join(dir, RecordsFile), []byte(text), 0o644)
		var e *FormatError
		if _, err := Open(dir, 1, known(1), 2); !errors.As(err, &e) || !strings.Contains(e.File, RecordsFile) {
			t.Errorf("%s: %v", name, err)
		}
		if got := read(t, dir, RecordsFile); got != text {
			t.Errorf("%s: the file was changed", name)
		}
	}
	if _, err := Open(filepath.Join(dir, "missing"), 0, nil, 2); err == nil {
		t.Error("no error for a missing folder")
	}
}

// The records of the checkpoint replace files that belong to another run.
func TestOpenWithOtherFiles(t *testing.T) {
	for _, tc := range []struct {
		name string
		make func(dir string)
	}{
		{"none", func(string) {}},
		{"too short", func(dir string) { run(t, dir, 0, 3).Close() }},
		{"of another run", func(dir string) {
			l := run(t, dir, 0, 6)
			l.history.Records[2].Loss++
			if err := replace(filepath.Join(dir, RecordsFile), l.history.WriteRecords); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			tc.make(dir)
			l, err := Open(dir, 6, known(6), 2)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if !reflect.DeepEqual(l.History().Records, known(6)) || len(l.History().Evaluations) != 0 {
				t.Errorf("got %+v", l.History())
			}
			if loaded, err := Load(dir); err != nil || !reflect.DeepEqual(loaded.Records, known(6)) {
				t.Errorf("files hold %+v, %v", loaded, err)
			}
		})
	}
}

// A file of a version that knew fewer figures is read, and goes on with all.
func TestFewerColumns(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		RecordsFile:     "iteration,loss,height\n0,0.5,240\n",
		EvaluationsFile: "iteration,mean_iou\n1,0.25\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := []Record{{Loss: 0.5, Height: 240}}
	l, err := Open(dir, 1, want, 2)
	if err != nil {
		t.Fatal(err)
	}
	if h := l.History(); !reflect.DeepEqual(h.Records, want) || h.Evaluations[0].MeanIoU != 0.25 {
		t.Errorf("%+v", h)
	}
	if err := errors.Join(l.AppendEvaluation(Evaluation{Iteration: 1, IoU: []float64{0.5, 1}}), l.Close()); err != nil {
		t.Fatal(err)
	}
	if got, want := read(t, dir, EvaluationsFile), "iteration,epoch,accuracy,mean_iou,mean_iou_present,seconds,iou_0,iou_1\n1,0,0,0.25,0,0,NaN,NaN\n1,0,0,0,0,0,0.5,1\n"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
