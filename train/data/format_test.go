package data

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"image/color/palette"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/train/config"
)

// The picture of every generated set is 4x2 pixels, and its labels these
// classes, -1 for ignored.
var formatLabels = []int32{0, 1, 1, -1, 0, 0, 1, -1}

// grey8 is a PNG of numbers.
func grey8(t testing.TB, values ...uint8) []byte {
	m := image.NewGray(image.Rect(0, 0, 4, 2))
	copy(m.Pix, values)
	return pngBytes(t, m)
}

// colours is a PNG of colours.
func colours(t testing.TB, values ...[3]uint8) []byte {
	m := image.NewNRGBA(image.Rect(0, 0, 4, 2))
	for i, v := range values {
		m.SetNRGBA(i%4, i/4, color.NRGBA{v[0], v[1], v[2], 255})
	}
	return pngBytes(t, m)
}

func paletted(t testing.TB, values ...uint8) []byte {
	m := image.NewPaletted(image.Rect(0, 0, 4, 2), palette.Plan9)
	copy(m.Pix, values)
	return pngBytes(t, m)
}

const panopticJSON = `{"info": {"a": [1, {}]}, "images": [{"id": 7, "file_name": "a.png", "width": 4, "height": 2, "license": 1}],
"annotations": [{"image_id": 7, "file_name": "b.png", "segments_info": [
  {"id": 70000, "category_id": 3, "area": 3, "bbox": [0, 0, 1, 1], "iscrowd": 0}, {"id": 5, "category_id": 200}, {"id": 6, "category_id": 200}]}],
"categories": [{"id": 200, "name": "sky", "isthing": 0}, {"id": 3, "name": "cat", "isthing": 1}]}`

// formatCase is a small set in one of the formats.
type formatCase struct {
	name     string
	files    map[string]string
	settings []string // ROOT stands for the folder
	want     []int32  // formatLabels unless set
	classes  string
}

func formatCases(t testing.TB) []formatCase {
	picture := string(pngBytes(t, NewPicture(4, 2)))
	id := func(n int) [3]uint8 { return [3]uint8{uint8(n), uint8(n >> 8), uint8(n >> 16)} }
	panoptic := string(colours(t, id(70000), id(5), id(6), id(0), id(70000), id(70000), id(5), id(0)))
	coco := map[string]string{"annotations/panoptic_train2017.json": panopticJSON, "train2017/a.png": picture, "annotations/panoptic_train2017/b.png": panoptic}
	red, green, grey := [3]uint8{200, 0, 0}, [3]uint8{0, 200, 0}, [3]uint8{9, 9, 9}
	drawn := string(colours(t, red, green, green, grey, red, red, green, grey))
	folders := []string{"DATASET.train_images", "ROOT/i", "DATASET.train_masks", "ROOT/m", "DATASET.num_class", "2"}
	return []formatCase{
		{name: "voc", settings: []string{"DATASET.format", "voc", "DATASET.num_class", "2"}, files: map[string]string{
			"ImageSets/Segmentation/train.txt": "a\n\n", "JPEGImages/a.jpg": picture, "SegmentationClass/a.png": string(paletted(t, 0, 1, 1, 255, 0, 0, 1, 255))}},
		{name: "voc pairs", settings: []string{"DATASET.format", "voc", "DATASET.num_class", "2", "DATASET.list_train", "ROOT/aug.txt"}, files: map[string]string{
			"aug.txt": "/JPEGImages/a.jpg /SegmentationClassAug/a.png\n", "JPEGImages/a.jpg": picture, "SegmentationClassAug/a.png": string(grey8(t, 0, 1, 1, 255, 0, 0, 1, 255))}},
		{name: "cityscapes", settings: []string{"DATASET.format", "cityscapes", "DATASET.num_class", "19"}, classes: "road sidewalk", files: map[string]string{
			"leftImg8bit/train/ulm/x_leftImg8bit.png": picture, "gtFine/train/ulm/x_gtFine_labelIds.png": string(grey8(t, 7, 8, 8, 3, 7, 7, 8, 0)),
			"gtFine/train/ulm/x_gtFine_color.png": picture}},
		{name: "panoptic", settings: []string{"DATASET.format", "coco-panoptic", "DATASET.num_class", "2"}, classes: "cat sky", files: coco},
		{name: "panoptic merged", settings: []string{"DATASET.format", "coco-panoptic", "DATASET.num_class", "2", "DATASET.things", "merge"}, classes: "things sky", files: coco},
		{name: "panoptic stuff", settings: []string{"DATASET.format", "coco-panoptic", "DATASET.num_class", "1", "DATASET.things", "ignore"}, classes: "sky", files: coco,
			want: []int32{-1, 0, 0, -1, -1, -1, 0, -1}},
		{name: "semantic", settings: []string{"DATASET.format", "coco-semantic", "DATASET.num_class", "2", "DATASET.train_masks", "ROOT/s"}, classes: "cat sky", files: map[string]string{
			"annotations/panoptic_train2017.json": panopticJSON, "train2017/a.png": picture, "s/a.png": string(grey8(t, 3, 200, 200, 0, 3, 3, 200, 255))}},
		{name: "colours by label", settings: append(folders, "DATASET.mask_colours", "ROOT/c.csv"), files: map[string]string{
			"i/a.png": picture, "m/a.png": drawn, "c.csv": "name,r,g,b,label\nsky,200,0,0,0\ngrass,0,200,0,1\nhedge,0,100,0,1\nedge,9,9,9,-1\n"}},
		{name: "colours by name", settings: append(folders, "DATASET.mask_colours", "ROOT/c.csv"), files: map[string]string{
			"i/a.png": picture, "m/a.png": drawn, "c.csv": "r, g, b, name\n200, 0, 0, sky\n9, 9, 9, Void\n0, 200, 0, grass\n"}},
		{name: "palette", settings: append(folders, "DATASET.label_shift", "1", "DATASET.format", "folders"), files: map[string]string{
			"i/a.png": picture, "m/a.png": string(paletted(t, 1, 2, 2, 0, 1, 1, 2, 0))}},
	}
}

// make writes a case and reads its configuration.
func (c *formatCase) make(t testing.TB) (*config.Config, string) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range c.files {
		write(t, dir, name, []byte(content))
	}
	settings := []string{"DATASET.root_dataset", dir}
	for _, s := range c.settings {
		settings = append(settings, strings.ReplaceAll(s, "ROOT", dir))
	}
	cfg, err := config.Parse(nil, "", settings...)
	if err != nil {
		t.Fatal(err)
	}
	return cfg, dir
}

func TestFormats(t *testing.T) {
	for _, test := range formatCases(t) {
		t.Run(test.name, func(t *testing.T) {
			cfg, _ := test.make(t)
			set, err := Open(cfg, Train)
			if err != nil {
				t.Fatal(err)
			}
			if len(set.Records) != 1 || set.Records[0].Width != 4 || set.Records[0].Height != 2 {
				t.Fatalf("%+v", set.Records)
			}
			s, err := NewReader(OptionsFrom(cfg)).Read(set.Records[0])
			if err != nil {
				t.Fatal(err)
			}
			want := test.want
			if want == nil {
				want = formatLabels
			}
			if got := s.Mask.Labels(nil); !reflect.DeepEqual(got, want) {
				t.Errorf("labels %v, want %v", got, want)
			}
			r, err := Inspect(context.Background(), set, OptionsFrom(cfg), nil)
			if err != nil || !r.OK() {
				t.Errorf("%+v, %v", r, err)
			}
			classes, err := Classes(cfg)
			if err != nil || !strings.HasPrefix(strings.Join(classes.Names(), " "), test.classes) || (classes == nil) != (test.classes == "") {
				t.Errorf("classes %v, %v", classes.Names(), err)
			}
			if !Has(cfg, Train) || Has(cfg, Val) {
				t.Errorf("has train %v, val %v", Has(cfg, Train), Has(cfg, Val))
			}
			// The resolved configuration reads the same set.
			again, err := config.Parse(cfg.YAML(), "again.yaml")
			if err != nil {
				t.Fatal(err)
			}
			if other, err := Open(again, Train); err != nil || !reflect.DeepEqual(other, set) {
				t.Errorf("read back: %v", err)
			}
		})
	}
}

// What is wrong with a set is told with the file, and what to do.
func TestFormatRefusals(t *testing.T) {
	picture := string(pngBytes(t, NewPicture(4, 2)))
	cases := map[string]formatCase{}
	for _, c := range formatCases(t) {
		cases[c.name] = c
	}
	for _, test := range []struct {
		of     string
		file   string // changed; "-" in front: removed
		to     string
		change []string
		want   []string
	}{
		{"voc", "-ImageSets/Segmentation/train.txt", "", nil, []string{"train.txt", "DATASET.root_dataset", "DATASET.list_train"}},
		{"voc", "ImageSets/Segmentation/train.txt", "a b c\n", nil, []string{"train.txt:1", "3 words"}},
		{"voc", "ImageSets/Segmentation/train.txt", "\n", nil, []string{"train.txt", "empty"}},
		{"voc", "-SegmentationClass/a.png", "", nil, []string{"a.png", "no such file"}},
		{"voc", "SegmentationClass/a.png", string(grey8(t, 9)), nil, []string{"a.png", "label 9", "allowed are 0..1", "255 for ignored"}},
		{"voc", "SegmentationClass/a.png", string(pngBytes(t, image.NewGray(image.Rect(0, 0, 4, 3)))), nil, []string{"4 x 2", "4 x 3"}},
		{"cityscapes", "-gtFine/train/ulm/x_gtFine_labelIds.png", "", nil, []string{"x_leftImg8bit.png has no mask", "x_gtFine_labelIds.png"}},
		{"cityscapes", "gtFine/train/ulm/y_gtFine_labelIds.png", picture, nil, []string{"y_gtFine_labelIds.png", "has no picture"}},
		{"cityscapes", "leftImg8bit/train/ulm/z.png", picture, nil, []string{"z.png is not named"}},
		{"cityscapes", "gtFine/train/ulm/x_gtFine_labelIds.png", string(grey8(t, 7, 40)), nil, []string{"labelIds.png", "number 40", "x 1, y 0", "label ids"}},
		{"cityscapes", "", "", []string{"DATASET.root_dataset", "ROOT/none"}, []string{"DATASET.root_dataset", "leftImg8bit"}},
		{"panoptic", "-annotations/panoptic_train2017.json", "", nil, []string{"panoptic_train2017.json", "DATASET.list_train"}},
		{"panoptic", "annotations/panoptic_train2017.json", panopticJSON[:200], nil, []string{"panoptic_train2017.json", "not COCO's JSON"}},
		{"panoptic", "annotations/panoptic_train2017.json", "[]", nil, []string{"not COCO's JSON"}},
		{"panoptic", "annotations/panoptic_train2017.json", strings.Replace(panopticJSON, `"image_id": 7`, `"image_id": 8`, 1), nil, []string{"a.png has no annotation"}},
		{"panoptic", "annotations/panoptic_train2017.json", strings.Replace(panopticJSON, `"category_id": 3`, `"category_id": 4`, 1), nil, []string{"category 4"}},
		{"panoptic", "annotations/panoptic_train2017.json", strings.Replace(panopticJSON, `"id": 5`, `"id": 50`, 1), nil, []string{"b.png", "segment 5", "segments_info"}},
		{"panoptic", "", "", []string{"DATASET.num_class", "3"}, []string{"2 classes", "DATASET.num_class says 3"}},
		{"semantic", "s/a.png", string(grey8(t, 4)), nil, []string{"a.png", "number 4", "category ids"}},
		{"colours by label", "c.csv", "name,r,g,b,label\nsky,200,0,0,0\n", nil, []string{"a.png", "colour 0,200,0", "c.csv"}},
		{"colours by label", "c.csv", "name,r,g,b,label\nsky,200,0,0,x\nsky,300,0,0,1\n", nil, []string{"c.csv:2", `label "x"`, "c.csv:3", "300"}},
		{"colours by label", "c.csv", "name,r,g,b\na,1,1,1\nb,1,1,1\n", nil, []string{"c.csv:3", "two labels"}},
		{"colours by label", "c.csv", "name,r,g,b,label\na\"b,1,1,1,0\n", nil, []string{"c.csv:2", "not valid CSV", "bare"}},
		{"colours by label", "c.csv", "a,b\n", nil, []string{"c.csv:1", "columns r, g, b"}},
		{"colours by label", "-c.csv", "", nil, []string{"DATASET.mask_colours", "c.csv"}},
	} {
		c := cases[test.of]
		files := map[string]string{}
		for name, content := range c.files {
			files[name] = content
		}
		if name, remove := strings.CutPrefix(test.file, "-"); remove {
			delete(files, name)
		} else if name != "" {
			files[name] = test.to
		}
		c.files, c.settings = files, append(c.settings[:len(c.settings):len(c.settings)], test.change...)
		cfg, _ := c.make(t)
		set, err := Open(cfg, Train)
		if err == nil {
			_, err = NewReader(OptionsFrom(cfg)).Read(set.Records[0])
			r, e := Inspect(context.Background(), set, OptionsFrom(cfg), nil)
			if e != nil || r.OK() {
				t.Errorf("%s, %s: Inspect finds nothing, %v", test.of, test.file, e)
			}
		}
		for _, w := range test.want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%s, %s: %q is not in %v", test.of, test.file, w, err)
			}
		}
	}
}

func TestFormatSettings(t *testing.T) {
	for _, test := range [][]string{
		{"DATASET.format", "pascal"}, {"DATASET.format", "folders"}, {"DATASET.things", "some"}, {"DATASET.things", "merge"},
		{"DATASET.format", "voc", "DATASET.mask_colours", "c.csv"},
		{"DATASET.format", "cityscapes", "DATASET.train_images", "a", "DATASET.train_masks", "b"},
		{"DATASET.format", "voc", "DATASET.val_images", "a", "DATASET.val_masks", "b"},
		{"DATASET.format", "cityscapes", "DATASET.list_val", "a"},
	} {
		if _, err := config.Parse(nil, "", test...); err == nil || !strings.Contains(err.Error(), "DATASET.") {
			t.Errorf("%v: %v", test, err)
		}
	}
	c, err := config.Parse(nil, "", "DATASET.format", "voc", "DATASET.ignore_labels", "(7,)")
	if err != nil || c.Dataset.LabelShift != 0 || fmt.Sprint(c.Dataset.IgnoreLabels) != "[7]" || c.Dataset.ListTrain != "" {
		t.Errorf("%v, %v", c, err)
	}
	// Frequencies count classes through the coding as well.
	for _, test := range formatCases(t) {
		cfg, _ := test.make(t)
		set, err := List(cfg, Train)
		if err != nil {
			t.Fatal(err)
		}
		f, err := Frequencies(context.Background(), set, OptionsFrom(cfg))
		if err != nil || len(f) != cfg.Dataset.NumClass || f[0] != map[bool]float64{true: 0.5, false: 1}[len(f) > 1] {
			t.Errorf("%s in %s: frequencies %v, %v", test.name, filepath.Base(set.Name), f, err)
		}
	}
}
