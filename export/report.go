package export

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Report is the outcome of Verify. It is its own JSON form.
type Report struct {
	File       string     `json:"file"`
	Runtime    string     `json:"runtime"` // what ran the file, with its version
	Deployment Deployment `json:"deployment"`
	Tolerance  float64    `json:"tolerance"`
	Agreement  float64    `json:"agreement_wanted"`
	Tie        float64    `json:"tie"`
	Cases      []Case     `json:"cases"`
	MaxAbs     float64    `json:"max_abs"`   // over all cases
	MaxRel     float64    `json:"max_rel"`   // over all cases
	Agreed     float64    `json:"agreement"` // over all pixels, ties agreeing
	Passed     bool       `json:"passed"`
	Failures   []string   `json:"failures,omitempty"` // why not, in words
}

// Case is the comparison of one batch of one size. Differences are of
// probabilities.
type Case struct {
	Batch      int     `json:"batch"`
	Height     int     `json:"height"`
	Width      int     `json:"width"`
	MaxAbs     float64 `json:"max_abs"`    // largest absolute difference
	MaxRel     float64 `json:"max_rel"`    // largest relative to the larger of the two, where that is at least 0.001
	Worst      Place   `json:"worst"`      // of the largest absolute difference
	NonFinite  int     `json:"non_finite"` // values that are NaN or infinite on either side
	Pixels     int     `json:"pixels"`
	Ties       int     `json:"ties"`       // other label, but as likely by the reference
	Mismatches int     `json:"mismatches"` // other label
}

// Place is where a value lies.
type Place struct {
	Picture int `json:"picture"`
	Class   int `json:"class"`
	Y       int `json:"y"`
	X       int `json:"x"`
}

// Agreed returns the share of pixels with the reference's label, ties
// agreeing.
func (c Case) Agreed() float64 {
	if c.Pixels == 0 {
		return 0
	}
	return 1 - float64(c.Mismatches)/float64(c.Pixels)
}

// MismatchError says that a deployed file does not do what training saw.
type MismatchError struct {
	File     string
	Failures []string
}

// Error lists what went past its tolerance.
func (e *MismatchError) Error() string {
	return fmt.Sprintf("%s differs from the training graph: %s", e.File, strings.Join(e.Failures, "; "))
}

// Err returns a *MismatchError where the file did not pass, else nil.
func (r *Report) Err() error {
	if r.Passed {
		return nil
	}
	return &MismatchError{File: r.File, Failures: r.Failures}
}

// conclude sums the cases up.
func (r *Report) conclude() {
	pixels, mismatches := 0, 0
	for _, c := range r.Cases {
		r.MaxAbs, r.MaxRel = max(r.MaxAbs, c.MaxAbs), max(r.MaxRel, c.MaxRel)
		pixels, mismatches = pixels+c.Pixels, mismatches+c.Mismatches
		size := fmt.Sprintf("%d x %dx%d", c.Batch, c.Height, c.Width)
		if c.NonFinite > 0 {
			r.Failures = append(r.Failures, fmt.Sprintf("%s: %d values are not finite", size, c.NonFinite))
		}
		if c.MaxAbs > r.Tolerance {
			r.Failures = append(r.Failures, fmt.Sprintf("%s: probabilities differ by %.2e (tolerance %.1e)", size, c.MaxAbs, r.Tolerance))
		}
		if c.Agreed() < r.Agreement {
			r.Failures = append(r.Failures, fmt.Sprintf("%s: labels agree on %.4f%% of the pixels (%.4f%% wanted)", size, 100*c.Agreed(), 100*r.Agreement))
		}
	}
	if pixels == 0 {
		r.Failures = append(r.Failures, "nothing was compared")
	} else {
		r.Agreed = 1 - float64(mismatches)/float64(pixels)
	}
	r.Passed = len(r.Failures) == 0
}

// WriteText writes the report as a table.
func (r *Report) WriteText(w io.Writer) error {
	fmt.Fprintf(w, "%s: %s head, in %s\n\n", r.File, r.Deployment.Head, r.Runtime)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "batch\theight\twidth\tmax abs\tmax rel\tlabels agree\tties\tmismatches\t")
	for _, c := range r.Cases {
		abs, rel := fmt.Sprintf("%.2e", c.MaxAbs), fmt.Sprintf("%.2e", c.MaxRel)
		if r.Deployment.Head == ArgMax {
			abs, rel = "n/a", "n/a"
		}
		fmt.Fprintf(t, "%d\t%d\t%d\t%s\t%s\t%.4f%%\t%d\t%d\t\n", c.Batch, c.Height, c.Width, abs, rel, 100*c.Agreed(), c.Ties, c.Mismatches)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	verdict := "passed"
	if !r.Passed {
		verdict = "FAILED: " + strings.Join(r.Failures, "; ")
	}
	_, err := fmt.Fprintf(w, "\n%s (tolerance %.1e on probabilities, %.4f%% of labels; a class within %.1e of the likeliest is a tie)\n",
		verdict, r.Tolerance, 100*r.Agreement, r.Tie)
	return err
}
