package report

import (
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/train/metric"
)

func TestConfusion(t *testing.T) {
	c := metric.NewConfusion(3)
	copy(c.Counts, []int64{6, 2, 0, 0, 0, 0, 1, 1, 2})
	svg := string(Confusion(c, models.NamedClasses("sky & sea", "a name of more than eighteen letters", "<b>")))
	d := xml.NewDecoder(strings.NewReader(svg))
	cells := 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "title" {
			cells++
		}
	}
	if cells != 1+5 {
		t.Errorf("%d titles, want the picture's and one for each count", cells)
	}
	for _, want := range []string{"sky &amp; sea as a name of more than eighteen letters: 2 pixels, 25.00 %", ">75<", "&lt;b&gt; as &lt;b&gt;: 2 pixels, 50.00 %", "a name of more th…<"} {
		if !strings.Contains(svg, want) {
			t.Errorf("%q is not in\n%s", want, svg)
		}
	}
}

func TestMistakes(t *testing.T) {
	c := metric.NewConfusion(3)
	copy(c.Counts, []int64{6, 2, 0, 0, 0, 0, 1, 5, 2})
	want := []mistake{{"c", "b", 5, "62.50 %"}, {"a", "b", 2, "25.00 %"}, {"c", "a", 1, "12.50 %"}}
	classes := models.NamedClasses("a", "b", "c")
	if got := mistakes(c, classes, 9); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := mistakes(c, classes, 2); !slices.Equal(got, want[:2]) {
		t.Errorf("%v, want %v", got, want[:2])
	}
}
