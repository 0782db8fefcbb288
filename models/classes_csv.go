package models

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"image/color"
	"io"
	"strconv"
	"strings"
)

// ignored are names of what is no class.
var ignored = map[string]bool{"ignore": true, "void": true, "unlabeled": true, "unlabelled": true}

func parseCSV(data []byte, path string) (Classes, []int, error) {
	r := csv.NewReader(bytes.NewReader(data))
	r.TrimLeadingSpace = true
	r.Comment = '#'
	fail := func(line int, err error) (Classes, []int, error) {
		var syntax *csv.ParseError
		if errors.As(err, &syntax) {
			return nil, nil, &ClassesError{File: path, Line: syntax.Line, Msg: "is not valid CSV", Err: syntax.Err}
		}
		return nil, nil, &ClassesError{File: path, Line: line, Msg: "is not a row of classes", Err: err}
	}
	header, err := r.Read()
	if errors.Is(err, io.EOF) {
		return nil, nil, nil
	}
	if err != nil {
		return fail(1, err)
	}
	columns := map[string]int{}
	for i, title := range header {
		columns[strings.ToLower(strings.TrimSpace(title))] = i
	}
	row := csvRow{columns: columns}
	if _, ok := columns["name"]; !ok {
		return nil, nil, &ClassesError{File: path, Line: 1, Msg: "has no column called name",
			Remedy: "begin with a header such as label,name,r,g,b, or use a .txt file of one name a line"}
	}
	var classes Classes
	var lines []int
	for {
		row.fields, err = r.Read()
		if errors.Is(err, io.EOF) {
			return classes, lines, nil
		}
		if err != nil {
			return fail(0, err) // a syntax error knows its line
		}
		line, _ := r.FieldPos(0)
		if ignored[strings.ToLower(row.text("name"))] {
			continue
		}
		class, err := row.class(len(classes))
		if err != nil {
			return fail(line, err)
		}
		classes, lines = append(classes, class), append(lines, line)
	}
}

// csvRow reads fields of a row by their column's title.
type csvRow struct {
	columns map[string]int
	fields  []string
}

func (r csvRow) text(title string) string {
	if i, ok := r.columns[title]; ok {
		return strings.TrimSpace(r.fields[i])
	}
	return ""
}

// number returns the first of the columns that exists.
func (r csvRow) number(max int, titles ...string) (n int, found bool, err error) {
	for _, title := range titles {
		text := r.text(title)
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > max {
			return 0, false, fmt.Errorf("%s is %q, not a whole number from 0 to %d", title, text, max)
		}
		return n, true, nil
	}
	return 0, false, nil
}

// class reads the row of the class that has the given place in the list.
func (r csvRow) class(place int) (Class, error) {
	c := Class{Name: r.text("name")}
	if c.Name == "" {
		return c, errors.New("the name is empty")
	}
	label, found, err := r.number(maxLabel, "label", "idx")
	if err != nil {
		return c, err
	}
	if !found {
		label = place + 1
	}
	c.Label, c.Colour = label, Colour(label)
	var rgb [3]uint8
	for i, title := range []string{"r", "g", "b"} {
		v, found, err := r.number(255, title)
		if err != nil {
			return c, err
		}
		if !found {
			return c, nil
		}
		rgb[i] = uint8(v)
	}
	c.Colour = color.RGBA{R: rgb[0], G: rgb[1], B: rgb[2], A: 0xFF}
	return c, nil
}
