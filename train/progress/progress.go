// Package progress shows how far a long task is: a bar on a terminal, plain
// lines elsewhere, so that logs stay readable.
package progress

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// Meter shows one task. It is safe for concurrent use.
type Meter struct {
	mu    sync.Mutex
	out   io.Writer
	label string
	total int
	every int
	first int
	start time.Time
	shown int // last step a plain line was written for
	bar   *progressbar.ProgressBar
}

// Options says what a Meter shows.
type Options struct {
	Label string
	Total int // steps of the whole task
	Start int // steps done before, by an earlier run
	Every int // plain output: a line every so many steps; 0: about ten lines
}

// IsTerminal reports whether w is a terminal.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// New starts a meter on w, which is usually os.Stderr.
func New(w io.Writer, o Options) *Meter {
	return newMeter(w, o, IsTerminal(w))
}

func newMeter(w io.Writer, o Options, terminal bool) *Meter {
	m := &Meter{out: w, label: o.Label, total: o.Total, every: o.Every, first: o.Start, start: time.Now(), shown: o.Start}
	if m.every < 1 {
		m.every = max(1, o.Total/10)
	}
	if terminal {
		m.bar = progressbar.NewOptions(o.Total,
			progressbar.OptionSetWriter(w),
			progressbar.OptionSetDescription(o.Label),
			progressbar.OptionSetWidth(24),
			progressbar.OptionShowCount(),
			progressbar.OptionShowIts(),
			progressbar.OptionSetItsString("it"),
			progressbar.OptionSetPredictTime(true),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionFullWidth(),
			progressbar.OptionUseANSICodes(true),
		)
		if o.Start > 0 {
			m.bar.Set(o.Start) // fails only past the total, where it shows the total
		}
	}
	return m
}

// Step tells that done steps of the total are done; status goes beside the
// label, such as "loss 0.412 accuracy 87.1 %". Call it after every step: the
// meter decides what to show.
func (m *Meter) Step(done int, status string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bar != nil {
		text := m.label
		if status != "" {
			text += " " + status
		}
		m.bar.Describe(text)
		m.bar.Set(min(done, m.total)) // an error would mean a done bar; nothing to do about it
		return
	}
	if done/m.every == m.shown/m.every && done != m.total {
		return
	}
	m.shown = done
	line := fmt.Sprintf("%s %d/%d", m.label, done, m.total)
	if status != "" {
		line += "  " + status
	}
	fmt.Fprintf(m.out, "%s%s\n", line, m.rest(done))
}

// rest is the speed and the time left, from the steps of this run.
func (m *Meter) rest(done int) string {
	elapsed := time.Since(m.start)
	steps := done - m.first
	if steps < 1 || elapsed <= 0 {
		return ""
	}
	left := time.Duration(float64(elapsed) / float64(steps) * float64(m.total-done)).Round(time.Second)
	return fmt.Sprintf("  %.2f it/s, %s left", float64(steps)/elapsed.Seconds(), left)
}

// Printf writes a line of its own, above the bar where there is one.
func (m *Meter) Printf(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bar != nil {
		m.bar.Clear() // only the terminal's look depends on it
	}
	fmt.Fprintf(m.out, format+"\n", args...)
	if m.bar != nil {
		m.bar.RenderBlank()
	}
}

// Done ends the display and leaves the cursor on a fresh line.
func (m *Meter) Done() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bar != nil {
		m.bar.Exit() // keeps the bar as it stands, also when stopped early
		fmt.Fprintln(m.out)
	}
}
