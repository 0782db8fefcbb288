package report

import (
	"bytes"
	"context"
	"fmt"
	"html"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/train/data"
	"github.com/graft-onnx/graft/train/history"
	"github.com/graft-onnx/graft/train/metric"
)

// frame shows a page at a width and writes down what does not look as it should.
const frame = `<!DOCTYPE html><body><iframe id="page" width="%d" height="900" style="border:0" srcdoc="%s"></iframe>
<pre id="found"></pre>
<script>
onload = () => {
  const page = document.getElementById("page").contentDocument, root = page.documentElement, found = [];
  const box = e => e.getBoundingClientRect();
  // ink is the box of a text without the room around its letters.
  const ink = e => {
    const r = box(e), room = Math.min(r.width, r.height) / 4;
    return {left: r.left + room, right: r.right - room, top: r.top + room, bottom: r.bottom - room, size: Math.max(r.width, r.height)};
  };
  const scrolls = e => e.closest(".wide, pre");
  if (root.scrollWidth > root.clientWidth) found.push("the page is " + root.scrollWidth + " wide");
  for (const e of page.querySelectorAll("main *"))
    if (!scrolls(e) && box(e).right > root.clientWidth + 1) found.push(e.tagName + " ends at " + box(e).right);
  for (const e of page.querySelectorAll("img"))
    if (!e.complete || !e.naturalWidth) found.push("a picture is not shown: " + e.alt);
  for (const svg of page.querySelectorAll(".curves svg")) {
    const paper = box(svg), texts = [...svg.querySelectorAll("text")], name = svg.querySelector("title").textContent;
    if (paper.width < 300) found.push(name + " is " + paper.width + " wide");
    texts.forEach((a, i) => {
      const r = ink(a);
      if (r.left < paper.left || r.right > paper.right || r.top < paper.top || r.bottom > paper.bottom)
        found.push(name + ": " + a.textContent + " lies outside");
      if (r.size < 11) found.push(name + ": " + a.textContent + " is too small");
      for (const b of texts.slice(i + 1)) {
        const q = ink(b);
        if (r.left < q.right && q.left < r.right && r.top < q.bottom && q.top < r.bottom)
          found.push(name + ": " + a.textContent + " lies on " + b.textContent);
      }
    });
  }
  document.getElementById("found").textContent = "seen " + page.querySelectorAll("svg, img, table").length + "\n" + found.join("\n");
};
</script>`

// seen is what the frame found on a page, and how many drawings, pictures and
// tables it has. A message on the browser's console is an error.
func seen(t *testing.T, browser string, page []byte, width int) (parts int, found string) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "frame.html")
	if err := os.WriteFile(file, fmt.Appendf(nil, frame, width, html.EscapeString(string(page))), 0o644); err != nil {
		t.Fatal(err)
	}
	var out, log bytes.Buffer
	var err error
	for try := range 3 { // on a busy machine a browser may come up and never load its page
		if out, log, err = browse(t, browser, filepath.Join(dir, fmt.Sprint("profile", try)), file, width+100); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	if strings.Contains(log.String(), "CONSOLE") {
		t.Errorf("at %d: the console says\n%s", width, &log)
	}
	m := regexp.MustCompile(`(?s)<pre id="found">seen (\d+)\n(.*?)</pre>`).FindStringSubmatch(out.String())
	if m == nil {
		t.Fatalf("at %d: the page was not looked at\n%s", width, &log)
	}
	fmt.Sscan(m[1], &parts)
	return parts, html.UnescapeString(m[2])
}

// browse returns what a file's page has become once it is loaded, and the log.
func browse(t *testing.T, browser, profile, file string, width int) (out, log bytes.Buffer, err error) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--enable-logging=stderr",
		"--user-data-dir="+profile, fmt.Sprintf("--window-size=%d,1000", width), "--dump-dom", "file://"+file)
	c.Stdout, c.Stderr, c.WaitDelay = &out, &log, time.Second
	err = c.Run()
	return out, log, err
}

// chromium returns a browser to look at pages with.
func chromium(t *testing.T) string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("no Chromium here; apt install chromium")
	return ""
}

// crowded is a report with much in it: many classes of long names, some that
// occur nowhere, and a long history.
func crowded(t *testing.T) *Report {
	r := example(t)
	names := make([]string, 33)
	for i := range names {
		names[i] = fmt.Sprintf("a class of a very long name indeed, number %d", i)
	}
	r.Classes = models.NamedClasses(names...)
	r.Confusion = metric.NewConfusion(len(names))
	for i := range r.Confusion.Counts {
		r.Confusion.Counts[i] = int64(i * i % 1013)
	}
	s := r.Confusion.Summary()
	r.Summary = &s
	r.Title = strings.Repeat("a-run-of-a-long-name", 6)
	r.Command = []string{"graft", "train", "--cfg", strings.Repeat("folder/", 40) + "a.yaml"}
	r.History = &history.History{}
	for i := range 20000 {
		r.History.Records = append(r.History.Records, history.Record{Iteration: i, Loss: 1e5 / float64(i+1), LossMain: 7e4 / float64(i+1), LossDeepSup: 3e4 / float64(i+1),
			Accuracy: 1 - 1/float64(i+1), LREncoder: 1e-5 * math.Exp(-float64(i)/1e4), LRDecoder: 2e-5, GradientNorm: 1e4, StepSeconds: 1e-3, DataSeconds: 1e-5})
		if i%500 == 499 {
			r.History.Evaluations = append(r.History.Evaluations, history.Evaluation{Iteration: i + 1, Accuracy: 0.5, MeanIoU: 0.25, MeanIoUPresent: 0.3})
		}
	}
	p := data.NewPicture(1600, 400)
	r.Samples = append(r.Samples, Sample{Name: strings.Repeat("folder/", 30) + "wide.png", Picture: p, Truth: make([]int32, 1600*400), Prediction: make([]int32, 1600*400)})
	return r
}

// A report fits a telephone and a screen, its text is legible, and a browser has
// nothing to complain of.
func TestReportInChromium(t *testing.T) {
	browser := chromium(t)
	for name, r := range map[string]*Report{"plain": example(t), "crowded": crowded(t)} {
		var page bytes.Buffer
		if err := r.WriteHTML(&page); err != nil {
			t.Fatal(err)
		}
		for _, width := range []int{400, 1200} {
			parts, found := seen(t, browser, page.Bytes(), width)
			if parts < 10 || found != "" {
				t.Errorf("%s at %d: %d drawings, pictures and tables\n%s", name, width, parts, found)
			}
		}
	}
	// What is too wide and cannot be shown is found.
	broken := `<main><p style="width:900px">wide</p><img alt="none" src="data:image/png;base64,AA"></main>`
	if parts, found := seen(t, browser, []byte(broken), 400); parts != 1 || !strings.Contains(found, "the page is 9") || !strings.Contains(found, "P ends at") || !strings.Contains(found, "not shown: none") {
		t.Errorf("of a broken page: %d, %q", parts, found)
	}
}
