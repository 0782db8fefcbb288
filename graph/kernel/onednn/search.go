package onednn

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// EnvLibrary is the environment variable that names the oneDNN library file;
// "off" means to do without oneDNN.
const EnvLibrary = "GRAFT_ONEDNN"

// InstallHint says how to install oneDNN on this system.
func InstallHint() string {
	switch runtime.GOOS {
	case "darwin":
		return "brew install onednn, or set " + EnvLibrary + " to libdnnl.dylib"
	case "windows":
		return "put dnnl.dll of a oneDNN release into a folder of PATH, or set " + EnvLibrary + " to it"
	default:
		return "apt install libdnnl2 (Debian 12, Ubuntu 22.04) or libdnnl3.6 (Debian 13; elsewhere see apt search libdnnl), dnf install onednn (Fedora), or set " + EnvLibrary + " to libdnnl.so"
	}
}

// Attempt is one file that was tried, and why it did not do.
type Attempt struct {
	Path string
	Err  error
}

// LoadError says that no usable oneDNN library was found.
type LoadError struct {
	Attempts []Attempt // in the order tried; files that do not exist are left out
	Asked    string    // what GRAFT_ONEDNN said, if anything
}

// Reason names the files that exist and do not work.
func (e *LoadError) Reason() string {
	switch {
	case e.Asked == "off":
		return EnvLibrary + "=off switches it off"
	case len(e.Attempts) == 0:
		return "no library found"
	}
	var reasons []string
	for _, a := range e.Attempts {
		reason := a.Err.Error()
		if !strings.Contains(reason, a.Path) {
			reason = a.Path + ": " + reason
		}
		reasons = append(reasons, reason)
	}
	return strings.Join(reasons, "; ")
}

// Error gives the reason and the remedy.
func (e *LoadError) Error() string {
	s := "oneDNN is not available: " + e.Reason()
	if e.Asked == "off" {
		return s
	}
	return s + " (to install it: " + InstallHint() + ")"
}

// Unwrap returns the errors of the attempts.
func (e *LoadError) Unwrap() []error {
	var errs []error
	for _, a := range e.Attempts {
		errs = append(errs, a.Err)
	}
	return errs
}

// sonames lists what the library may be called, the newest generation first.
// Some distributions give every minor version of 3 its own name, so those are
// tried from the newest down; unknown ones are found by libraryFiles.
func sonames() []string {
	switch runtime.GOOS {
	case "darwin":
		return []string{"libdnnl.3.dylib", "libdnnl.dylib", "libdnnl.2.dylib"}
	case "windows":
		return []string{"dnnl.dll"}
	}
	names := []string{"libdnnl.so.3"}
	for minor := 20; minor >= 0; minor-- {
		names = append(names, fmt.Sprintf("libdnnl.so.3.%d", minor))
	}
	return append(names, "libdnnl.so.2", "libdnnl.so")
}

// libraryFiles looks for the library where package managers put it, for the
// case that the dynamic linker does not search there or its name is a new one.
func libraryFiles() []string {
	dirs := []string{"/usr/local/lib", "/usr/lib", "/usr/lib64", "/usr/local/lib64", "/opt/homebrew/lib"}
	pattern := "libdnnl.so.[23]*"
	switch runtime.GOOS {
	case "darwin":
		pattern = "libdnnl.[23]*.dylib"
	case "windows":
		return nil
	default:
		dirs = append(dirs, "/usr/lib/"+map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]+"-linux-gnu")
	}
	var files []string
	for _, dir := range dirs {
		found, _ := filepath.Glob(filepath.Join(dir, pattern)) // the pattern is well-formed
		slices.Sort(found)
		slices.Reverse(found)
		files = append(files, found...)
	}
	return files
}

// candidates lists what to open, in order of preference, and what GRAFT_ONEDNN
// said.
func candidates() (paths []string, asked string) {
	asked = os.Getenv(EnvLibrary)
	switch asked {
	case "":
		return append(sonames(), libraryFiles()...), ""
	case "off":
		return nil, asked
	}
	return []string{asked}, asked
}
