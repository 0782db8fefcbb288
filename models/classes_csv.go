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

// hasHeader tells whether text begins with a header of several columns.
func hasHeader(data []byte) bool {
	first, _, _ := bytes.Cut(data, []byte("\n"))
	columns, err := headerColumns(csv.NewReader(bytes.NewReader(first)))
	_, named := columns["name"]
	return err == nil && named && len(columns) > 1
}

// headerColumns maps the titles of the first row to positions.
func headerColumns(r *csv.Reader) (map[string]int, error) {
	header, err := r.Read()
	if err != nil {
		return nil, err
	}
	columns := map[string]int{}
	for i, title := range header {
		columns[strings.ToLower(strings.TrimSpace(title))] = i
	}
	return columns, nil
}

func parseCSV(data []byte, path string, first int) (Classes, []int, error) {
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
	columns, err := headerColumns(r)
	if errors.Is(err, io.EOF) {
		return nil, nil, nil
	}
	if err != nil {
		return fail(1, err)
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
		class, err := row.class(first + len(classes))
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

// class reads a row, of the name's synonyms between semicolons, as ADE20K has
// them, the first alone; next is its label where it gives none. A colour that it
// does not give stays zero.
func (r csvRow) class(next int) (Class, error) {
	name, _, _ := strings.Cut(r.text("name"), ";")
	c := Class{Name: strings.TrimSpace(name)}
	if c.Name == "" {
		return c, errors.New("the name is empty")
	}
	label, found, err := r.number(maxLabel, "label", "idx", "id")
	if err != nil {
		return c, err
	}
	if !found {
		label = next
	}
	c.Label = label
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

// WriteCSV writes the classes as LoadClasses reads them. Where a label below
// the first is left, it is written as ignored.
func (c Classes) WriteCSV(w io.Writer) error {
	out := csv.NewWriter(w) // Flush and Error tell the first error
	out.Write([]string{"label", "name", "r", "g", "b"})
	if len(c) > 0 && c[0].Label > 0 {
		out.Write([]string{strconv.Itoa(c[0].Label - 1), "ignore", "0", "0", "0"})
	}
	for _, k := range c {
		out.Write([]string{strconv.Itoa(k.Label), k.Name, strconv.Itoa(int(k.Colour.R)), strconv.Itoa(int(k.Colour.G)), strconv.Itoa(int(k.Colour.B))})
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("class list: %w", err)
	}
	return nil
}
