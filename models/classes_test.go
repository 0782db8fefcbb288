package models_test

import (
	"bytes"
	"errors"
	"image/color"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/internal/testutil"
	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/onnx"
	"github.com/graft-onnx/graft/onnx/pb"
)

func TestParseClasses(t *testing.T) {
	rgb := func(r, g, b uint8) color.RGBA { return color.RGBA{r, g, b, 255} }
	for name, tc := range map[string]struct {
		file, text string
		want       models.Classes
	}{
		"names": {"c.txt", "\uFEFF# colours are made up\nroad\n\n  tall tree \r\n", models.Classes{
			{"road", 1, models.Colour(1)}, {"tall tree", 2, models.Colour(2)}}},
		"csv with colours": {"c.csv", "label,name,r,g,b\n0,ignore,0,0,0\n1,Sky,128,128,129\n2,\"a, b\",1,2,3\n", models.Classes{
			{"Sky", 1, rgb(128, 128, 129)}, {"a, b", 2, rgb(1, 2, 3)}}},
		"csv without colours, other order": {"C.CSV", "Name, Idx\nwall,2\nfloor,1\n", models.Classes{
			{"floor", 1, models.Colour(1)}, {"wall", 2, models.Colour(2)}}},
		"csv of names": {"c.csv", "name\nVoid\na\nb\n", models.Classes{
			{"a", 1, models.Colour(1)}, {"b", 2, models.Colour(2)}}},
	} {
		got, err := models.ParseClasses([]byte(tc.text), tc.file)
		if err != nil || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: %v, %v; want %v", name, got, err, tc.want)
		}
	}
}

func TestParseClassesErrors(t *testing.T) {
	for _, tc := range []struct {
		file, text, want string
	}{
		{"c.txt", "", "c.txt: names no class; write one class name a line"},
		{"c.csv", "", "c.csv: names no class; write one class name a line"},
		{"c.csv", "label,name\n2,a\n1,void\n3,b\n", "c.csv:2: the first label is 2; labels count from 1, or from 0 where no label is ignored"},
		{"c.csv", "label,name\n0,a\n3,d\n1,b\n", "c.csv:3: no class has label 2, but one has 3; number the classes without gaps"},
		{"c.csv", "label,name\n1,a\n1,b\n", "c.csv:3: label 1 is already on line 2"},
		{"c.csv", "label,title\n1,a\n", "c.csv:1: has no column called name; begin with a header such as label,name,r,g,b, or use a .txt file of one name a line"},
		{"c.csv", "label,name\n1\n", "c.csv:2: is not valid CSV: wrong number of fields"},
		{"c.csv", "label,name\n1,\"a\n", `c.csv:2: is not valid CSV: extraneous or missing " in quoted-field`},
		{"c.csv", "label,name\n-1,a\n", `c.csv:2: is not a row of classes: label is "-1", not a whole number from 0 to 65535`},
		{"c.csv", "name,r,g,b\na,1,2,256\n", `c.csv:2: is not a row of classes: b is "256", not a whole number from 0 to 255`},
		{"c.csv", "name,r\n\n\"\",1\n", "c.csv:3: is not a row of classes: the name is empty"},
		{"c.txt", "a\xff", "c.txt: is not UTF-8 text; save the class list as UTF-8"},
		{"c.txt", strings.Repeat("a", 5<<20), "c.txt: longer than the 4 MiB a class list may have"},
	} {
		_, err := models.ParseClasses([]byte(tc.text), tc.file)
		var e *models.ClassesError
		if !errors.As(err, &e) || err.Error() != tc.want {
			t.Errorf("error %v\nwant  %s", err, tc.want)
		}
	}
	missing := filepath.Join(t.TempDir(), "none.txt")
	if _, err := models.LoadClasses(missing); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), missing) {
		t.Errorf("missing file: %v", err)
	}
}

func TestParseDataClasses(t *testing.T) {
	rgb := func(r, g, b uint8) color.RGBA { return color.RGBA{r, g, b, 255} }
	const table = "label,name,r,g,b\n0,ground,0,0,0\n2,tree,1,2,3\n1,\"sky, blue\",4,5,6\n"
	for name, tc := range map[string]struct {
		file, text string
		n, first   int
		want       models.Classes
	}{
		"lower labels are left out": {"c.csv", table, 2, 1, models.Classes{{"sky, blue", 1, rgb(4, 5, 6)}, {"tree", 2, rgb(1, 2, 3)}}},
		"all of them":               {"c.csv", table, 3, 0, models.Classes{{"ground", 0, rgb(0, 0, 0)}, {"sky, blue", 1, rgb(4, 5, 6)}, {"tree", 2, rgb(1, 2, 3)}}},
		"a header is enough":        {"c", "Name,Id\nsky,7\n", 1, 7, models.Classes{{"sky", 7, models.Colour(1)}}},
		"the reference's table":     {"object150_info.csv", "Idx,Ratio,Train,Val,Stuff,Name\n1,0.1576,11664,1172,1,wall\n2,0.1072,6046,612,1,building;edifice\n", 2, 1, models.Classes{{"wall", 1, models.Colour(1)}, {"building", 2, models.Colour(2)}}},
		"names from 0":              {"c.txt", "# names\nsky\n\ntree\n", 2, 0, models.Classes{{"sky", 0, models.Colour(1)}, {"tree", 1, models.Colour(2)}}},
		"names below 0":             {"c.txt", "sky\ntree\n", 2, -1, models.Classes{{"sky", -1, models.Colour(1)}, {"tree", 0, models.Colour(2)}}},
		"a table without labels":    {"c.csv", "name\nsky\ntree\n", 2, 3, models.Classes{{"sky", 3, models.Colour(1)}, {"tree", 4, models.Colour(2)}}},
	} {
		got, err := models.ParseDataClasses([]byte(tc.text), tc.file, tc.n, tc.first)
		if err != nil || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: %v, %v; want %v", name, got, err, tc.want)
		}
	}
	for text, want := range map[string]string{
		"label,name\n1,a\n":           "c: names 1 classes from label 1 on, but there are 2",
		"label,name\n1,a\n1,b\n":      "c:3: label 1 is already on line 2",
		"label,name\nx,a\n2,b\n":      `c:2: is not a row of classes: label is "x", not a whole number from 0 to 65535`,
		"label,name\n1,a\n2,b\n3,c\n": "c: names 3 classes from label 1 on, but there are 2",
		"label,name\n3,b\n2,a\n":      "c:3: the first label is 2, but the masks' first class has 1",
		"a\nb\nc\n":                   "c: names 3 classes from label 1 on, but there are 2",
		"a\n":                         "c: names 1 classes from label 1 on, but there are 2",
		"label,name\n0,a\n":           "c: names 0 classes from label 1 on, but there are 2",
	} {
		_, err := models.ParseDataClasses([]byte(text), "c", 2, 1)
		var e *models.ClassesError
		if !errors.As(err, &e) || err.Error() != want {
			t.Errorf("error %v\nwant  %s", err, want)
		}
	}
	missing := filepath.Join(t.TempDir(), "none.txt")
	if _, err := models.LoadDataClasses(missing, 1, 1); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), missing) {
		t.Errorf("missing file: %v", err)
	}
}

func TestWrittenClassesReadBack(t *testing.T) {
	for _, want := range []models.Classes{
		{{"sky, blue", 1, color.RGBA{1, 2, 3, 255}}, {`"tree"`, 2, color.RGBA{4, 5, 6, 255}}},
		{{"ground", 0, color.RGBA{0, 0, 0, 255}}, {"tree", 1, color.RGBA{4, 5, 6, 255}}},
	} {
		var b bytes.Buffer
		if err := want.WriteCSV(&b); err != nil {
			t.Fatal(err)
		}
		if got, err := models.ParseClasses(b.Bytes(), "c.csv"); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q reads as %v, %v; want %v", b.String(), got, err, want)
		}
	}
}

func TestNumberedClasses(t *testing.T) {
	c := models.NumberedClasses(150, 1)
	seen := map[color.RGBA]int{{A: 255}: -1}
	for i, k := range c {
		if j, twice := seen[k.Colour]; twice {
			t.Errorf("classes %d and %d share the colour %v", j, i, k.Colour)
		}
		seen[k.Colour] = i
		if k.Label != i+1 {
			t.Errorf("class %d has label %d", i, k.Label)
		}
	}
	if c.Name(7) != "class 7" || c.Name(200) != "class 200" || models.Classes(nil).Name(1) != "class 1" || models.CamVid.Name(3) != "Road" {
		t.Error("names are wrong")
	}
	if c.Colour(2) != models.Colour(3) || c.Colour(-1) != (color.RGBA{A: 255}) || c.Colour(150) != (color.RGBA{A: 255}) {
		t.Error("colours are wrong")
	}
}

func FuzzParseClasses(f *testing.F) {
	for _, text := range []string{"a\nb\n", "label,name,r,g,b\n0,ignore,0,0,0\n1,Sky,128,128,129\n", "name\n\"a\"\"\"", "idx,name\n2,b\n1,a"} {
		f.Add([]byte(text), true)
		f.Add([]byte(text), false)
	}
	f.Fuzz(func(t *testing.T, data []byte, table bool) {
		path := "c.txt"
		if table {
			path = "c.csv"
		}
		classes, err := models.ParseClasses(data, path)
		var e *models.ClassesError
		if err != nil && !errors.As(err, &e) {
			t.Fatalf("error %v is no *ClassesError", err)
		}
		for i, c := range classes {
			if c.Name == "" || c.Label != classes[0].Label+i || classes[0].Label > 1 {
				t.Fatalf("class %d of %q is %+v", i, data, c)
			}
		}
	})
}

func TestLoadClassesOfDataSets(t *testing.T) {
	for _, tc := range []struct {
		folder string
		count  int
		first  string
	}{
		{"camvid", 11, "Sky"}, {"ade20k-sample", 150, "wall"}, {"magnetic-tile", 6, "background"}, {"oxford-pet-26", 3, "background"},
	} {
		classes, err := models.LoadClasses(testutil.SharedDir(t, "data", tc.folder, "classes.csv"))
		if err != nil {
			t.Error(err)
			continue
		}
		if len(classes) != tc.count || classes[0].Name != tc.first || classes[0].Label != 1 {
			t.Errorf("%s: %d classes, the first %+v", tc.folder, len(classes), classes[0])
		}
		if tc.folder == "camvid" && !reflect.DeepEqual(classes.Names(), models.CamVid.Names()) {
			t.Errorf("camvid: %v, built in %v", classes.Names(), models.CamVid.Names())
		}
	}
}

func TestClassesTravelWithTheModel(t *testing.T) {
	m := &onnx.Model{ModelProto: &pb.ModelProto{}, Path: "m.onnx"}
	if got, err := models.ClassesOf(m); got != nil || err != nil {
		t.Errorf("without classes: %v, %v", got, err)
	}
	want := models.Classes{{"Käse", 3, color.RGBA{1, 0x20, 255, 255}}, {"<b>", 9, color.RGBA{A: 255}}}
	if err := models.SetClasses(m, want); err != nil {
		t.Fatal(err)
	}
	if got, err := models.ClassesOf(m); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	for _, damaged := range []string{
		`{`, `{"name":"a"}`, `[{"name":"a","label":1,"colour":"red"}]`, `[{"name":"a","label":1,"colour":"#1234567"}]`,
		`[{"name":"a","label":-1,"colour":"#000000"}]`, `[{"name":"a","label":70000,"colour":"#000000"}]`,
	} {
		m.SetMetadata(onnx.ClassesKey, damaged)
		_, err := models.ClassesOf(m)
		var e *models.ClassesError
		if !errors.As(err, &e) || e.File != "m.onnx" {
			t.Errorf("%s: error %v, want a *ClassesError that names m.onnx", damaged, err)
		}
	}
}
