package report

import (
	"fmt"
	"html/template"

	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/train/data"
)

// DataSet is the statistics of one part of a data set.
type DataSet struct {
	Name    string // such as "training"
	Records int    // pictures of the part; Report may have read fewer
	Report  *data.Report
}

// setsView is the data sets beside each other: a column for each.
type setsView struct {
	Names   []string
	Facts   []setFact
	Classes []setClass
}

type setFact struct {
	Name   string
	Values []string
}

type setClass struct {
	Name  string
	Color template.CSS
	Sets  []setShare
}

type setShare struct {
	Share    string
	Bar      template.CSS
	Pictures int
}

// describeSets lays out the statistics; nil without any.
func describeSets(sets []DataSet, classes models.Classes) *setsView {
	if len(sets) == 0 {
		return nil
	}
	v := &setsView{}
	for _, line := range []struct {
		name  string
		value func(s DataSet) string
	}{
		{"pictures", func(s DataSet) string {
			if s.Report.Records < s.Records {
				return fmt.Sprintf("%d; what follows is of %d of them, evenly spread", s.Records, s.Report.Records)
			}
			return fmt.Sprint(s.Records)
		}},
		{"sizes", func(s DataSet) string {
			low, high := s.Report.MinSize, s.Report.MaxSize
			if len(s.Report.Sizes) == 1 {
				return fmt.Sprintf("%d × %d", low[0], low[1])
			}
			return fmt.Sprintf("%d, from %d × %d to %d × %d", len(s.Report.Sizes), low[0], low[1], high[0], high[1])
		}},
		{"taller than wide", func(s DataSet) string { return fmt.Sprint(s.Report.Tall) }},
		{"ignored pixels", func(s DataSet) string { return percent(s.Report.Ignored) }},
		{"mean of red, green, blue", func(s DataSet) string { return channels(s.Report.Mean) }},
		{"standard deviation", func(s DataSet) string { return channels(s.Report.Std) }},
		{"findings", func(s DataSet) string {
			n := 0
			for _, k := range s.Report.Counts {
				n += k
			}
			if n == 0 {
				return "none"
			}
			return fmt.Sprintf("%d; graft data lists them", n)
		}},
	} {
		f := setFact{Name: line.name}
		for _, s := range sets {
			f.Values = append(f.Values, line.value(s))
		}
		v.Facts = append(v.Facts, f)
	}
	most := 0
	for _, s := range sets {
		v.Names = append(v.Names, s.Name)
		most = max(most, len(s.Report.Classes))
	}
	for k := range most {
		row := setClass{Name: classes.Name(k), Color: cssColor(classes.Colour(k))}
		for _, s := range sets {
			var c data.ClassCount
			if k < len(s.Report.Classes) {
				c = s.Report.Classes[k]
			}
			row.Sets = append(row.Sets, setShare{percent(c.Share), cssPercent(c.Share), c.Files})
		}
		v.Classes = append(v.Classes, row)
	}
	return v
}

func channels(v [3]float64) string { return fmt.Sprintf("%.3f, %.3f, %.3f", v[0], v[1], v[2]) }
