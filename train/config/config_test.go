package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// reference has the shape of the reference project's files: Python tuples,
// Python booleans, 1e-4, sections in its order, no own keys.
const reference = `DATASET:
  root_dataset: "./data/"
  list_train: "./data/training.odgt"
  num_class: 19
  imgSizes: (600,)
  imgMaxSize: 1280
  random_flip: False

MODEL:
  arch_encoder: "resnet18dilated"
  fc_dim: 512

TRAIN:
  num_epoch: 7
  weight_decay: 1e-4
  fix_bn: True

VAL:
  visualize: False
  checkpoint: "epoch_7.pth"

DIR: "ckpt/x"
`

func TestParseReferenceStyle(t *testing.T) {
	c, err := Parse([]byte(reference), "a.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Dataset.NumClass, want.Dataset.ImgSizes, want.Dataset.ImgMaxSize = 19, []int{600}, 1280
	want.Dataset.RandomFlip = false
	want.Model.ArchEncoder, want.Model.FcDim = "resnet18dilated", 512
	want.Train.NumEpoch, want.Train.FixBN = 7, true
	want.Val.Checkpoint, want.Dir = "epoch_7.pth", "ckpt/x"
	if !same(c, want) {
		t.Errorf("got\n%s\nwant\n%s", c, want)
	}
	if c.MaxIters() != 7*5000 {
		t.Errorf("MaxIters %d, want %d", c.MaxIters(), 7*5000)
	}
}

func same(a, b *Config) bool {
	x, y := *a, *b
	x.file, x.lines, y.file, y.lines = "", nil, "", nil
	return reflect.DeepEqual(x, y)
}

func TestListsInEveryForm(t *testing.T) {
	for text, want := range map[string][]int{
		"(300, 375)": {300, 375}, "(300,)": {300}, "300": {300}, "[300, 375]": {300, 375},
		"\n    - 300\n    - 375": {300, 375}, `"(300,375,)"`: {300, 375},
	} {
		c, err := Parse([]byte("DATASET:\n  imgSizes: "+text+"\n"), "a.yaml")
		if err != nil {
			t.Errorf("%q: %v", text, err)
		} else if !reflect.DeepEqual(c.Dataset.ImgSizes, want) {
			t.Errorf("%q: got %v, want %v", text, c.Dataset.ImgSizes, want)
		}
	}
	for _, text := range []string{`"(300"`, `"(300,,375)"`, "()", "(a,)", `"3(0)0"`, "{a: 1}", "[[1]]"} {
		if _, err := Parse([]byte("DATASET:\n  imgSizes: "+text+"\n"), "a.yaml"); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}

func TestOverrides(t *testing.T) {
	c, err := Parse([]byte(reference), "a.yaml", "TRAIN.num_epoch", "10", "DATASET.imgSizes", "(300,)", "DIR", "b", "TRAIN.fix_bn", "False")
	if err != nil {
		t.Fatal(err)
	}
	if c.Train.NumEpoch != 10 || !reflect.DeepEqual(c.Dataset.ImgSizes, []int{300}) || c.Dir != "b" || c.Train.FixBN {
		t.Errorf("overrides not applied:\n%s", c)
	}
	if err := c.Set("TRAIN.seed", "9"); err != nil || c.Train.Seed != 9 {
		t.Errorf("Set: %v, seed %d", err, c.Train.Seed)
	}
}

func TestEveryFindingAtOnce(t *testing.T) {
	file := `DATASET:
  num_clas: 3
  imgSizes: (300, x)
MODEL: 5
TRAINS:
  lr: 1
TRAIN:
  seed: 1
  seed: 2
num_class: 4
`
	_, err := Parse([]byte(file), "b.yaml", "TRAIN.num_epochs", "3", "TRAIN.seed", "many", "DIR")
	var errs *Errors
	if !errors.As(err, &errs) {
		t.Fatalf("want *Errors, got %v", err)
	}
	want := []string{
		"b.yaml:2: DATASET.num_clas: unknown key; did you mean DATASET.num_class?",
		`b.yaml:3: DATASET.imgSizes: want a whole number, found "x"`,
		`b.yaml:4: MODEL: want a section of keys, found "5"`,
		"b.yaml:5: TRAINS: unknown key; did you mean TRAIN?",
		"b.yaml:9: TRAIN.seed: set twice, first on line 8",
		"b.yaml:10: num_class: unknown key; did you mean DATASET.num_class?",
		"command line: DIR: overrides come in pairs, KEY value; this one has no value",
		"command line: TRAIN.num_epochs: unknown key; did you mean TRAIN.num_epoch?",
		`command line: TRAIN.seed: want a whole number, found "many"`,
	}
	if got := err.Error(); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	var one *Error
	if !errors.As(err, &one) || one.Line != 2 {
		t.Errorf("errors.As gives %v", one)
	}
}

func TestRangesNameTheLine(t *testing.T) {
	for _, tc := range []struct{ section, key, value string }{
		{"DATASET", "num_class", "0"}, {"DATASET", "imgSizes", "()"}, {"DATASET", "imgSizes", "(0,)"},
		{"DATASET", "imgMaxSize", "-1"}, {"DATASET", "padding_constant", "12"}, {"DATASET", "segm_downsampling_rate", "3"},
		{"DATASET", "std", "(1, 0, 1)"}, {"DATASET", "mean", "(1,)"}, {"DATASET", "ignore_labels", "(70000,)"},
		{"DATASET", "exif_orientation", "maybe"}, {"DATASET", "train_images", "x"}, {"DATASET", "val_masks", "x"},
		{"MODEL", "fc_dim", "0"}, {"MODEL", "arch_encoder", `""`}, {"TRAIN", "batch_size_per_gpu", "0"},
		{"TRAIN", "start_epoch", "20"}, {"TRAIN", "epoch_iters", "0"}, {"TRAIN", "optim", "Adam"},
		{"TRAIN", "beta1", "1"}, {"TRAIN", "lr_encoder", "-1"}, {"TRAIN", "precision", "fp64"}, {"TRAIN", "recompute", "all"},
		{"TRAIN", "bn_momentum", "2"}, {"TRAIN", "patience", "-1"}, {"MODEL", "frozen", "[\"\"]"}, {"TRAIN", "devices", "[\"cpu:0\", \"cpu:0\"]"}, {"TRAIN", "devices", "[\"gpu:0\"]"}, {"TRAIN", "devices", "[\"cpu:1\"]"}, {"TRAIN", "seed", "-1"}, {"VAL", "batch_size", "2"}, {"TEST", "batch_size", "0"},
	} {
		_, err := Parse([]byte(tc.section+":\n  "+tc.key+": "+tc.value+"\n"), "c.yaml")
		var e *Error
		// A pair of keys that disagree may be reported under its partner.
		if !errors.As(err, &e) || !strings.HasPrefix(e.Key, tc.section+".") {
			t.Errorf("%s.%s %s: got %v", tc.section, tc.key, tc.value, err)
		} else if e.Key == tc.section+"."+tc.key && (e.Line != 2 || e.File != "c.yaml") {
			t.Errorf("%s.%s: got place %s:%d, want c.yaml:2", tc.section, tc.key, e.File, e.Line)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	c, err := Parse([]byte(reference), "a.yaml",
		"DATASET.classes", "a \"quoted\"\tname \\ with é, 日本 and \x01.csv", "DATASET.ignore_labels", "(255, 7)",
		"TRAIN.lr_encoder", "0.1234567890123456", "MODEL.file", "true", "DATASET.val_images", "null", "DATASET.val_masks", "1")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := c.Save(path); err != nil {
		t.Fatal(err)
	}
	back, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if !same(c, back) {
		t.Errorf("wrote\n%s\nread\n%s", c, back)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*.tmp")); len(left) > 0 {
		t.Errorf("temporary files left: %v", left)
	}
	for _, key := range Keys() {
		name := key[strings.LastIndex(key, ".")+1:]
		if !strings.Contains(c.String(), name+": ") {
			t.Errorf("%s is missing from the written file", key)
		}
	}
}

func TestMalformed(t *testing.T) {
	for name, file := range map[string]string{
		"broken":    "DATASET:\n  a: [1\n",
		"list":      "- 1\n",
		"two":       "DIR: a\n---\nDIR: b\n",
		"alias":     "DATASET: &a\n  num_class: 2\nMODEL: *a\n",
		"merge":     "DATASET:\n  <<: {num_class: 2}\n",
		"huge":      strings.Repeat("#", maxFile+1),
		"list key":  "? [a]\n: 1\n",
		"utf16":     "\xff\xfeD\x00",
		"mapsvalue": "DIR: {a: 1}\n",
	} {
		if _, err := Parse([]byte(file), "d.yaml"); err == nil {
			t.Errorf("%s: no error", name)
		} else if !strings.Contains(err.Error(), "d.yaml") {
			t.Errorf("%s: the file is not named: %v", name, err)
		}
	}
	for _, file := range []string{"", "# nothing\n", "DATASET:\n", "---\n"} {
		if c, err := Parse([]byte(file), "d.yaml"); err != nil || !same(c, Default()) {
			t.Errorf("%q: want the defaults, got %v", file, err)
		}
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(reference))
	f.Add(Default().YAML())
	f.Add([]byte("DATASET: {augment: [{name: crop, size: [3, 4]}, {name: flip}]}\n"))
	f.Add([]byte("DATASET: {imgSizes: [1, 2], mean: (1,2,3)}\nDIR: |\n  a\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse(data, "f.yaml")
		if err != nil {
			return
		}
		back, err := Parse(c.YAML(), "g.yaml")
		if err != nil || !same(c, back) {
			t.Fatalf("round trip: %v\n%s", err, c)
		}
	})
}

// Training folders do without the default validation list, not without one
// that was named.
func TestValidationOfFolders(t *testing.T) {
	folders := []string{"DATASET.train_images", "a", "DATASET.train_masks", "b"}
	for _, test := range []struct {
		overrides []string
		want      string
	}{
		{nil, "./data/validation.odgt"},
		{folders, ""},
		{append(folders, "DATASET.list_val", "v.odgt"), "v.odgt"},
	} {
		c, err := Parse(nil, "", test.overrides...)
		if err != nil {
			t.Fatal(err)
		}
		if c.Dataset.ListVal != test.want {
			t.Errorf("%q: list_val %q, want %q", test.overrides, c.Dataset.ListVal, test.want)
		}
		again, err := Parse(c.YAML(), "again")
		if err != nil || again.Dataset.ListVal != test.want {
			t.Errorf("%q: read back as %q, %v", test.overrides, again.Dataset.ListVal, err)
		}
	}
}
