package metric

import (
	"strings"
	"testing"
)

func TestWriteCSV(t *testing.T) {
	c := NewConfusion(3)
	copy(c.Counts, []int64{6, 2, 0, 1, 1, 0, 0, 0, 0})
	var matrix, figures strings.Builder
	names := []string{"sky", "sea, lake", "none"}
	s := c.Summary()
	if err := c.WriteCSV(&matrix, names); err != nil {
		t.Fatal(err)
	}
	if err := s.WriteCSV(&figures, names); err != nil {
		t.Fatal(err)
	}
	want := "label \\ prediction,sky,\"sea, lake\",none\nsky,6,2,0\n\"sea, lake\",1,1,0\nnone,0,0,0\n"
	if got := matrix.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	// sky: 6 of 8 labels found, 6 of 7 predictions right, union 9.
	rows := strings.Split(figures.String(), "\n")
	for i, want := range []string{"class,name,iou,", "0,sky,0.6666666", "1,\"sea, lake\",0.2499999999", "2,none,,,,0,0,0,0,0,0"} {
		if !strings.HasPrefix(rows[i], want) {
			t.Errorf("row %d is %q, want %q", i, rows[i], want)
		}
	}
	if err := c.WriteCSV(&matrix, names[:2]); err == nil {
		t.Error("two names for three classes")
	}
	if err := s.WriteCSV(&matrix, names[:2]); err == nil {
		t.Error("two names for three classes")
	}
}
