package device

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/graft-onnx/graft/graph/kernel"
	"github.com/graft-onnx/graft/graph/kernel/native"
	"github.com/graft-onnx/graft/graph/kernel/onednn"
)

func TestOpen(t *testing.T) {
	t.Setenv(onednn.EnvLibrary, "") // whatever the tests run under
	t.Setenv(native.EnvSIMD, "")
	_, path, err := onednn.Available()
	plain := "onednn" // what auto takes without vector instructions
	if err != nil {
		plain = "native"
	}
	best := plain
	if native.Vectorised() {
		best = "native"
	}
	tests := []struct{ name, env, library, simd, want string }{
		{want: best},
		{name: "auto", want: best},
		{env: "auto", want: best},
		{name: "native", want: "native"},
		{env: "native", want: "native"},
		{name: "auto", env: "native", want: best}, // the flag wins
		{library: "off", want: "native"},
		{library: "off", simd: "off", want: "native"},
		{simd: "off", want: plain},
	}
	if err == nil {
		tests = append(tests, struct{ name, env, library, simd, want string }{library: path, want: "onednn"})
	}
	for _, test := range tests {
		t.Run(test.name+"/"+test.env+"/"+test.library+"/"+test.simd, func(t *testing.T) {
			t.Setenv(EnvDevice, test.env)
			t.Setenv(native.EnvSIMD, test.simd)
			t.Setenv(onednn.EnvLibrary, test.library)
			d, err := OpenThreads(test.name, 1)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			if d.Name() != test.want {
				t.Errorf("opened %s, want %s", d.Name(), test.want)
			}
		})
	}
}

func TestSIMDThatMeansNothing(t *testing.T) {
	t.Setenv(onednn.EnvLibrary, "")
	for _, value := range []string{"foo", "AVX2", "avx-512"} {
		t.Setenv(native.EnvSIMD, value)
		for _, name := range []string{"auto", "native"} {
			d, err := Open(name)
			if err == nil {
				d.Close()
				t.Errorf("%s=%s: %s opens", native.EnvSIMD, value, name)
				continue
			}
			for _, word := range []string{native.EnvSIMD, value, `"avx512"`, `"avx2"`, `"off"`} {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q does not name %s", err, word)
				}
			}
		}
		for _, s := range List() {
			if s.Available || !strings.Contains(s.Reason, value) {
				t.Errorf("%s=%s: %+v", native.EnvSIMD, value, s)
			}
		}
	}
	for _, value := range []string{"", "avx512", "avx2", "off"} {
		t.Setenv(native.EnvSIMD, value)
		d, err := Open("native")
		if err != nil {
			t.Errorf("%s=%s: %v", native.EnvSIMD, value, err)
			continue
		}
		d.Close()
	}
}

func TestOpenUnknown(t *testing.T) {
	t.Setenv(EnvDevice, "tpu")
	for name, from := range map[string]string{"": EnvDevice, "cuda:0": "--device"} {
		_, err := Open(name)
		var unknown *UnknownError
		if !errors.As(err, &unknown) {
			t.Fatalf("Open(%q): %v, want an *UnknownError", name, err)
		}
		if unknown.From != from || !slices.Equal(unknown.Known, []string{"auto", "native", "onednn"}) {
			t.Errorf("Open(%q): %+v", name, unknown)
		}
		for _, word := range []string{from, "auto", "onednn", "native"} {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%q does not name %s", err, word)
			}
		}
	}
}

// A library file that was asked for and cannot be used is never passed over.
func TestOpenBrokenLibrary(t *testing.T) {
	path := filepath.Join(t.TempDir(), "libdnnl.so")
	t.Setenv(onednn.EnvLibrary, path)
	t.Setenv(EnvDevice, "")
	for _, name := range []string{"", "auto", "onednn"} {
		_, err := Open(name)
		var unavailable *UnavailableError
		var load *onednn.LoadError
		if !errors.As(err, &unavailable) || !errors.As(err, &load) {
			t.Fatalf("Open(%q): %v, want an *UnavailableError over a *LoadError", name, err)
		}
		for _, word := range []string{path, onednn.InstallHint(), "--device native"} {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%q does not say %s", err, word)
			}
		}
	}
	if _, err := Open("native"); err != nil {
		t.Error(err)
	}
}

func TestList(t *testing.T) {
	t.Setenv(onednn.EnvLibrary, "off")
	list := List()
	if len(list) != 2 || list[0].Name != "native" || list[1].Name != "onednn" {
		t.Fatalf("%+v", list)
	}
	if s := list[1]; s.Available || s.Reason == "" || s.Hint != "" {
		t.Errorf("oneDNN switched off: %+v", s)
	}
	if s := list[0]; !s.Available || s.Detail == "" {
		t.Errorf("native: %+v", s)
	}
	t.Setenv(onednn.EnvLibrary, filepath.Join(t.TempDir(), "missing.so"))
	if s := List()[1]; s.Available || !strings.Contains(s.Reason, "missing.so") || s.Hint == "" {
		t.Errorf("oneDNN missing: %+v", s)
	}
}

// named is a device that only has a name.
type named struct {
	kernel.Device
	name string
}

func (n named) Name() string { return n.name }

func TestAdvice(t *testing.T) {
	t.Setenv(native.EnvSIMD, "")
	t.Setenv(onednn.EnvLibrary, filepath.Join(t.TempDir(), "missing.so"))
	if s := Advice(named{name: "native"}); native.Vectorised() && s != "" {
		t.Errorf("vector instructions: %q", s)
	}
	t.Setenv(native.EnvSIMD, "off")
	t.Setenv(onednn.EnvLibrary, "off")
	if s := Advice(named{name: "native"}); s != "" {
		t.Errorf("oneDNN switched off on purpose: %q", s)
	}
	t.Setenv(onednn.EnvLibrary, filepath.Join(t.TempDir(), "missing.so"))
	if s := Advice(named{name: "native"}); !strings.Contains(s, onednn.InstallHint()) {
		t.Errorf("oneDNN missing: %q", s)
	}
	if s := Advice(named{name: "onednn"}); s != "" {
		t.Errorf("on oneDNN: %q", s)
	}
}
