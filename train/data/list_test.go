package data

import (
	"bytes"
	"context"
	"errors"
	"image"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/train/config"
)

func TestReadList(t *testing.T) {
	set, err := ReadList(strings.NewReader("\xef\xbb\xbf"+`{"fpath_img": "i/a.jpg", "fpath_segm": "m/a.png", "width": 480, "height": 360}

{"fpath_img": "/abs/b.jpg", "extra": [1]}
{"fpath_img": "c.jpg", "fpath_segm": "c.png", "width": 48.0, "height": 36}
`), "x.odgt", "root")
	if err != nil {
		t.Fatal(err)
	}
	want := []Record{
		{"i/a.jpg", filepath.Join("root", "i", "a.jpg"), filepath.Join("root", "m", "a.png"), 480, 360, 1, nil},
		{"/abs/b.jpg", "/abs/b.jpg", "", 0, 0, 3, nil},
		{"c.jpg", filepath.Join("root", "c.jpg"), filepath.Join("root", "c.png"), 48, 36, 4, nil},
	}
	if !reflect.DeepEqual(set.Records, want) {
		t.Errorf("got %+v", set.Records)
	}
}

func TestReadListErrors(t *testing.T) {
	_, err := ReadList(strings.NewReader(`{"fpath_img": "a.jpg"
{"fpath_segm": "a.png"}
{"fpath_img": "a.jpg", "width": 5}
{"fpath_img": "a.jpg", "width": 5, "height": -1}
{"fpath_img": "a.jpg", "width": 1e30, "height": 1}
{"fpath_img": "a\u0000.jpg"}
[1]
{"fpath_img": "good.jpg"}
`), "bad.odgt", "")
	var list *ListError
	if !errors.As(err, &list) {
		t.Fatal(err)
	}
	var lines []int
	for _, f := range list.Findings {
		lines = append(lines, f.Line)
	}
	if !reflect.DeepEqual(lines, []int{1, 2, 3, 4, 5, 6, 7}) {
		t.Errorf("findings on lines %v:\n%v", lines, err)
	}
	if !strings.Contains(err.Error(), "bad.odgt:2: fpath_img is missing") {
		t.Errorf("%v", err)
	}
	for name, text := range map[string]string{"empty": "\n", "long": strings.Repeat("x", maxLine+1)} {
		if _, err := ReadList(strings.NewReader(text), name, ""); !errors.As(err, &list) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ReadList(strings.NewReader(strings.Repeat("x\n", 100)), "many", ""); !errors.As(err, &list) || len(list.Findings) != maxFindings || list.More != 100-maxFindings {
		t.Errorf("many findings: %v", err)
	}
	if _, err := OpenList(filepath.Join(t.TempDir(), "none.odgt"), ""); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing list: %v", err)
	}
}

func TestWriteListReadsBack(t *testing.T) {
	root := t.TempDir()
	records := []Record{{"a.jpg", filepath.Join(root, "a.jpg"), filepath.Join(root, "m", "a.png"), 4, 3, 1, nil},
		{"b \"q\".jpg", filepath.Join(root, "b \"q\".jpg"), "", 5, 6, 2, nil}}
	var b bytes.Buffer
	if err := WriteList(&b, records, root); err != nil {
		t.Fatal(err)
	}
	set, err := ReadList(&b, "x", root)
	if err != nil || !reflect.DeepEqual(set.Records, records) {
		t.Errorf("got %+v, %v", set, err)
	}
}

func TestOpenFolders(t *testing.T) {
	dir := t.TempDir()
	images, masks := filepath.Join(dir, "images"), filepath.Join(dir, "masks")
	picture := pngBytes(t, NewPicture(6, 4))
	for _, name := range []string{"b.png", "sub/a.PNG", ".hidden.png", "notes.txt"} {
		write(t, images, name, picture)
	}
	for _, name := range []string{"b.bmp", "sub/a.png"} {
		write(t, masks, name, picture)
	}
	set, err := OpenFolders(images, masks)
	if err != nil {
		t.Fatal(err)
	}
	if len(set.Records) != 2 || set.Records[0].Mask != filepath.Join(masks, "b.bmp") || set.Records[1].Name != "sub/a.PNG" {
		t.Errorf("%+v", set.Records)
	}
	if err := set.Measure(context.Background(), RefuseOrientation); err != nil || set.Records[1].Width != 6 || set.Records[1].Height != 4 {
		t.Errorf("Measure: %v, %+v", err, set.Records[1])
	}
	write(t, images, "alone.png", picture)
	write(t, images, "b.jpg", picture)
	write(t, masks, "widow.png", picture)
	_, err = OpenFolders(images, masks)
	for _, part := range []string{"picture alone.png has no mask", "mask widow.png", "pictures b.jpg and b.png share a stem"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q is missing from %v", part, err)
		}
	}
	if _, err := OpenFolders(filepath.Join(dir, "none"), masks); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing folder: %v", err)
	}
	var list *ListError
	if _, err := OpenFolders(t.TempDir(), t.TempDir()); !errors.As(err, &list) {
		t.Errorf("empty folders: %v", err)
	}
}

func TestOpenImages(t *testing.T) {
	dir := t.TempDir()
	a := write(t, dir, "a.png", pngBytes(t, NewPicture(6, 4)))
	write(t, dir, "more/b.png", nil)
	list := write(t, dir, "more/l.odgt", []byte(`{"fpath_img": "b.png"}`+"\n"))
	set, err := OpenImages(a, filepath.Join(dir, "more"), list)
	if err != nil {
		t.Fatal(err)
	}
	b := filepath.Join(dir, "more", "b.png")
	if len(set.Records) != 3 || set.Records[0].Image != a || set.Records[1].Image != b || set.Records[2].Image != b {
		t.Errorf("%+v", set.Records)
	}
	if _, err := OpenImages(filepath.Join(dir, "none.png")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing picture: %v", err)
	}
}

func TestSpread(t *testing.T) {
	set := &Set{Name: "ten"}
	for i := range 10 {
		set.Records = append(set.Records, Record{Line: i})
	}
	for n, want := range map[int][]int{1: {0}, 3: {0, 3, 6}, 4: {0, 2, 5, 7}, 10: {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, 99: {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}} {
		var got []int
		for _, r := range set.Spread(n).Records {
			got = append(got, r.Line)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%d of 10: %v, want %v", n, got, want)
		}
	}
}

func TestOpenByConfig(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "i/a.png", pngBytes(t, NewPicture(6, 4)))
	write(t, dir, "m/a.png", pngBytes(t, image.NewGray(image.Rect(0, 0, 6, 4))))
	list := write(t, dir, "l.odgt", []byte(`{"fpath_img": "i/a.png", "fpath_segm": "m/a.png"}`))
	c, err := config.Parse(nil, "", "DATASET.root_dataset", dir, "DATASET.list_train", list,
		"DATASET.val_images", filepath.Join(dir, "i"), "DATASET.val_masks", filepath.Join(dir, "m"))
	if err != nil {
		t.Fatal(err)
	}
	for _, split := range []Split{Train, Val} {
		set, err := Open(c, split)
		if err != nil || len(set.Records) != 1 || set.Records[0].Width != 6 || set.Records[0].Mask != filepath.Join(dir, "m", "a.png") {
			t.Errorf("%s: %+v, %v", split, set, err)
		}
	}
}

func TestOpenFoldersByALink(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "real"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "real", "a.png"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink("real", link); err != nil {
		t.Skipf("skipped: no symbolic links here: %v", err)
	}
	set, err := OpenFolders(link, link)
	if err != nil {
		t.Fatal(err)
	}
	if len(set.Records) != 1 || set.Records[0].Image != filepath.Join(link, "a.png") {
		t.Errorf("got %+v", set.Records)
	}
	file := filepath.Join(link, "a.png")
	if _, err := OpenFolders(file, link); err == nil || !strings.Contains(err.Error(), "not a folder") {
		t.Errorf("a file for a folder: %v", err)
	}
}
