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
	spoke time.Time
	bar   *progressbar.ProgressBar
}

// Options says what a Meter shows.
type Options struct {
	Label string
	Total int // steps of the whole task
	Start int // steps done before, by an earlier run
	Every int // plain output: a line every so many steps; 0: every ten seconds
}

// quiet is how long plain output without a number of steps says nothing: what
// takes less is told of once, at its end.
const quiet = 10 * time.Second

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
	now := time.Now()
	m := &Meter{out: w, label: o.Label, total: o.Total, every: o.Every, first: o.Start, start: now, shown: o.Start, spoke: now}
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
	if done != m.total && !m.due(done) {
		return
	}
	m.shown, m.spoke = done, time.Now()
	line := fmt.Sprintf("%s %d/%d", m.label, done, m.total)
	if status != "" {
		line += "  " + status
	}
	fmt.Fprintf(m.out, "%s%s\n", line, m.rest(done))
}

// due tells whether a step deserves a plain line.
func (m *Meter) due(done int) bool {
	if m.every > 0 {
		return done/m.every != m.shown/m.every
	}
	return time.Since(m.spoke) >= quiet
}

// rest is the speed and the time left, or taken at the end, from the steps of
// this run.
func (m *Meter) rest(done int) string {
	elapsed := time.Since(m.start)
	steps := done - m.first
	if steps < 1 || elapsed <= 0 {
		return ""
	}
	speed := float64(steps) / elapsed.Seconds()
	if done >= m.total {
		return fmt.Sprintf("  %.2f it/s, took %s", speed, elapsed.Round(100*time.Millisecond))
	}
	left := time.Duration(float64(elapsed) / float64(steps) * float64(m.total-done)).Round(time.Second)
	return fmt.Sprintf("  %.2f it/s, %s left", speed, left)
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
