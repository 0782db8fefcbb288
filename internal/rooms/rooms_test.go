package rooms

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/graft-onnx/graft"

// room is a folder with what lies below it, less the rooms inside that have an
// entry of their own.
type room struct {
	ours   []string // other rooms that it may import
	others []string // libraries that it may import, with what lies below them
}

// rooms is the whole layout. A folder that fits no entry and an import that is
// not listed are errors.
var rooms = map[string]room{
	"onnx":        {ours: []string{"onnx/pb", "internal/atomicfile"}, others: []string{"google.golang.org/protobuf"}},
	"onnx/pb":     {others: []string{"google.golang.org/protobuf"}},
	"onnx/pb/gen": {others: []string{"google.golang.org/protobuf", "github.com/bufbuild/protocompile"}},

	"models": {ours: []string{"onnx", "onnx/pb"}, others: []string{"golang.org/x/sync/errgroup"}},

	"graph": {
		ours: []string{"onnx", "onnx/pb", "graph/op", "graph/kernel"},
		others: []string{"gorgonia.org/gorgonia", "gorgonia.org/tensor", "github.com/owulveryck/onnx-go",
			"gonum.org/v1/gonum/graph", "google.golang.org/protobuf", "golang.org/x/sys"},
	},
	"graph/op": {
		ours:   []string{"onnx", "onnx/pb", "graph/kernel"},
		others: []string{"gorgonia.org/gorgonia", "gorgonia.org/tensor", "github.com/chewxy/hm"},
	},
	"graph/kernel":            {},
	"graph/kernel/host":       {ours: []string{"graph/kernel"}, others: []string{"golang.org/x/sys"}}, // memory of the system's own, large pages
	"graph/kernel/kerneltest": {ours: []string{"graph/kernel"}},
	"graph/kernel/native":     {ours: []string{"graph/kernel", "graph/kernel/host"}, others: []string{"golang.org/x/sys"}},
	"graph/kernel/onednn": {
		ours:   []string{"graph/kernel", "graph/kernel/host", "graph/kernel/native", "internal/dl"},
		others: []string{"golang.org/x/sys"},
	},
	"graph/mpi":    {ours: []string{"graph", "internal/dl"}},
	"graph/device": {ours: []string{"graph/kernel", "graph/kernel/native", "graph/kernel/onednn"}},

	"train": {ours: []string{"onnx", "onnx/pb", "models", "graph", "graph/kernel",
		"train/config", "train/data", "train/events", "train/history", "train/metric", "train/progress", "train/report",
		"internal/atomicfile", "internal/folderlock"}},
	"train/config":   {ours: []string{"internal/atomicfile", "models"}, others: []string{"gopkg.in/yaml.v3"}},
	"train/data":     {ours: []string{"models", "train/config"}, others: []string{"golang.org/x/image", "golang.org/x/sync/errgroup"}},
	"train/events":   {ours: []string{"internal/atomicfile", "train/history"}, others: []string{"google.golang.org/protobuf/encoding/protowire"}},
	"train/history":  {ours: []string{"internal/atomicfile", "train/metric"}},
	"train/metric":   {},
	"train/progress": {others: []string{"github.com/schollz/progressbar/v3", "golang.org/x/term"}},
	"train/report": {
		ours:   []string{"internal/atomicfile", "models", "train/data", "train/history", "train/metric"},
		others: []string{"golang.org/x/image/draw", "golang.org/x/sys/cpu", "gonum.org/v1/plot"},
	},

	"export":     {ours: []string{"onnx", "onnx/pb", "graph", "graph/kernel", "export/ort"}}, // graph only to verify
	"export/ort": {ours: []string{"internal/dl"}, others: []string{"golang.org/x/sys"}},

	"cmd": {
		ours: []string{"onnx", "onnx/pb", "models", "graph", "graph/op", "graph/kernel", "graph/kernel/native", "graph/kernel/onednn", "graph/device", "graph/mpi", "export", "export/ort",
			"train", "train/config", "train/data", "train/metric", "train/progress", "train/report", "internal/atomicfile"},
		others: []string{"github.com/alecthomas/kong", "github.com/willabides/kongplete", "github.com/posener/complete"},
	},

	"bench": {
		ours:   []string{"onnx", "onnx/pb", "models", "graph", "graph/device", "graph/kernel", "export", "export/ort", "train", "train/config"},
		others: []string{"google.golang.org/protobuf"},
	},

	"internal/atomicfile": {},
	"internal/dl":         {others: []string{"github.com/ebitengine/purego", "golang.org/x/sys"}},
	"internal/folderlock": {},
	"internal/rooms":      {},
	"internal/testutil":   {ours: []string{"onnx/pb", "export/ort"}, others: []string{"google.golang.org/protobuf"}},
}

// forTests are rooms for tests alone; any test may import any other room too.
var forTests = []string{"internal/testutil", "graph/kernel/kerneltest"}

func TestRoomsKeepToThemselves(t *testing.T) {
	occupied := map[string]bool{}
	for file, imports := range importsOf(t, "../..") {
		home := roomOf(path.Dir(file))
		if home == "" {
			t.Errorf("%s is in no room; enter its folder into the list", file)
			continue
		}
		occupied[home] = true
		test := strings.HasSuffix(file, "_test.go")
		for _, name := range imports {
			if own, inside := strings.CutPrefix(name, module+"/"); inside {
				to := roomOf(own)
				switch {
				case test || to == home:
				case slices.Contains(forTests, to):
					t.Errorf("%s imports %s, which is for tests", file, to)
				case !slices.Contains(rooms[home].ours, to):
					t.Errorf("%s imports %s, which %s may not", file, to, home)
				}
				continue
			}
			if first, _, _ := strings.Cut(name, "/"); !strings.Contains(first, ".") || test {
				continue // the standard library
			}
			if !slices.ContainsFunc(rooms[home].others, func(l string) bool { return name == l || strings.HasPrefix(name, l+"/") }) {
				t.Errorf("%s imports %s, which %s may not", file, name, home)
			}
		}
	}
	for name := range rooms {
		if !occupied[name] {
			t.Errorf("room %s is empty", name)
		}
	}
}

// roomOf returns the innermost room of a folder, "" for none.
func roomOf(folder string) string {
	for ; folder != "."; folder = path.Dir(folder) {
		if _, ok := rooms[folder]; ok {
			return folder
		}
	}
	return ""
}

// importsOf lists what every Go file below root imports, for whatever system
// and build tag it is.
func importsOf(t *testing.T, root string) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		hidden := len(d.Name()) > 2 && d.Name()[0] == '.'
		switch {
		case d.IsDir() && (hidden || d.Name() == "testdata"):
			return fs.SkipDir
		case d.IsDir() || hidden || filepath.Ext(name) != ".go":
			return nil
		}
		source, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, source, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		imports := []string{}
		for _, i := range file.Imports {
			p, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			imports = append(imports, p)
		}
		found[filepath.ToSlash(rel)] = imports
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		t.Fatal("no Go file found")
	}
	return found
}
