package report

import (
	"bytes"
	"fmt"
	"html"

	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/train/metric"
)

// Pixels of a confusion matrix: of a cell's side, and for names.
const (
	cellSide = 34
	nameRoom = 150
	nameLean = 60 // of the last column's name, to the right
)

// matrixWidth is that of a whole matrix, pixels.
func matrixWidth(classes int) int { return nameRoom + cellSide*classes + nameLean }

// Confusion draws a confusion matrix as SVG: rows are labels, columns
// predictions, the darkness of a cell is the share of its label's pixels. Up
// to twenty classes the share is written in the cell; every cell tells its
// numbers where the pointer rests on it. Cells without pixels are left out. Text
// has the colour of the text around the picture.
func Confusion(c *metric.Confusion, classes models.Classes) []byte {
	const side, room = cellSide, nameRoom
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12" fill="currentColor"><title>Confusion matrix</title>`+"\n", matrixWidth(c.Classes), room+side*c.Classes+1)
	fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%d" height="%d" fill="none" stroke="#99a"/>`+"\n", room, room, side*c.Classes, side*c.Classes)
	fmt.Fprintf(&b, `<text x="%d" y="14" fill-opacity="0.7">predicted</text><text x="4" y="%d" fill-opacity="0.7">label</text>`+"\n", room, room-6)
	for l := range c.Classes {
		name := html.EscapeString(shorten(classes.Name(l)))
		at := room + side*l + side/2 + 4
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text><text transform="translate(%d %d) rotate(-60)">%s</text>`+"\n",
			room-6, at, name, at, room-6, name)
		row := c.Counts[l*c.Classes : (l+1)*c.Classes]
		total := int64(0)
		for _, n := range row {
			total += n
		}
		for p, n := range row {
			if n == 0 {
				continue
			}
			share := float64(n) / float64(total)
			fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%d" height="%d" fill="#1f61b0" fill-opacity="%.3f"><title>%s as %s: %d pixels, %.2f %%</title></rect>`+"\n",
				room+side*p, room+side*l, side, side, share, html.EscapeString(classes.Name(l)), html.EscapeString(classes.Name(p)), n, 100*share)
			if c.Classes <= 20 {
				ink := "currentColor"
				if share > 0.75 {
					ink = "#fff"
				}
				fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle" font-size="11" fill="%s" pointer-events="none">%.0f</text>`+"\n",
					room+side*p+side/2, room+side*l+side/2+4, ink, 100*share)
			}
		}
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// shorten cuts long names of classes, such as lists of synonyms.
func shorten(name string) string {
	const most = 18
	if r := []rune(name); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return name
}
