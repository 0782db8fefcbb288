package main

import (
	"os/exec"
	"strings"
	"testing"
)

func TestInstallCompletions(t *testing.T) {
	for _, c := range []struct {
		name, env string // the argument, if any, and SHELL
		code      int
		words     []string // on standard output, or of the refusal
		told      []string // on the error stream
	}{
		{"", "/bin/bash", 0, []string{"complete -C ", " graft"}, []string{"bash, as SHELL says", "no file was changed", "bash >> ~/.bashrc"}},
		{"", "/usr/bin/zsh", 0, []string{"bashcompinit", "complete -C "}, []string{"zsh, as SHELL says", "~/.zshrc"}},
		{"fish", "/bin/bash", 0, []string{"complete --command graft", "COMP_LINE"}, []string{"fish, as named", "graft.fish"}},
		{"", "/bin/tcsh", 2, nil, []string{`"tcsh"`, "bash, zsh, fish"}},
		{"", "", 2, nil, []string{"SHELL is not set", "bash|zsh|fish"}},
		{"powershell", "/bin/bash", 2, nil, []string{`"powershell"`, "bash, zsh, fish"}},
	} {
		t.Setenv("SHELL", c.env)
		args := []string{"install-completions"}
		if c.name != "" {
			args = append(args, c.name)
		}
		r := graft(t, args...)
		if r.code != c.code || c.code != 0 && r.out != "" {
			t.Errorf("%q, SHELL=%s: exit code %d, printed %q", args, c.env, r.code, r.out)
		}
		for _, w := range c.words {
			if !strings.Contains(r.out, w) {
				t.Errorf("%q, SHELL=%s: no %q in\n%s", args, c.env, w, r.out)
			}
		}
		for _, w := range c.told {
			if !strings.Contains(r.err, w) {
				t.Errorf("%q, SHELL=%s: no %q in %q", args, c.env, w, r.err)
			}
		}
	}
}

// The shells take the code, and find the program again whatever its path.
func TestShellsReadTheirCompletions(t *testing.T) {
	for _, sh := range shells {
		program, err := exec.LookPath(sh.name)
		if err != nil {
			t.Logf("no %s here", sh.name)
			continue
		}
		for _, path := range []string{"/bin/graft", "/a b/it's/$HOME/graft"} {
			word := sh.quote(path)
			script := "eval set -- " + word + `; printf %s "$1"`
			if sh.name == "fish" || word == path {
				script = "printf %s " + word
			}
			if got, err := exec.Command(program, "-c", script).Output(); err != nil || string(got) != path {
				t.Errorf("%s reads %s as %q, want %q: %v", sh.name, word, got, path, err)
			}
			if out, err := exec.Command(program, "-n", "-c", strings.ReplaceAll(sh.code, "%s", word)).CombinedOutput(); err != nil {
				t.Errorf("%s does not take its code: %v\n%s", sh.name, err, out)
			}
		}
	}
}
