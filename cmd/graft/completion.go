package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/posener/complete"

	"github.com/graft-onnx/graft/graph/device"
	"github.com/graft-onnx/graft/models"
)

// predictors say what the shell offers after a flag; the predictor tags of
// the commands name them.
func predictors() map[string]complete.Predictor {
	onnx := complete.PredictFiles("*.onnx")
	return map[string]complete.Predictor{
		"onnx":    onnx,
		"yaml":    complete.PredictOr(complete.PredictFiles("*.yaml"), complete.PredictFiles("*.yml")),
		"file":    complete.PredictFiles("*"),
		"folder":  complete.PredictDirs("*"),
		"device":  complete.PredictSet(device.Names()...),
		"encoder": complete.PredictOr(complete.PredictSet(models.Encoders()...), onnx),
		"decoder": complete.PredictSet(models.Decoders()...),
		"preset":  complete.PredictSet(models.PresetNames()...),
		"shell":   complete.PredictSet(shellNames()...),
	}
}

// completionsCommand is `graft install-completions`.
type completionsCommand struct {
	Shell string `arg:"" optional:"" help:"bash, zsh or fish; without it the shell that SHELL names." predictor:"shell"`
}

// Help is shown by --help.
func (completionsCommand) Help() string {
	return `Examples:
  graft install-completions bash >> ~/.bashrc
  graft install-completions fish > ~/.config/fish/completions/graft.fish

Prints the shell's code and changes no file.`
}

// shell is one that graft can be completed in.
type shell struct {
	name string
	// code makes it ask graft, whose path stands for %s.
	code string
	// keep is the end of a command line that keeps the code for later shells.
	keep string
}

var shells = []shell{
	{"bash", "complete -C %s graft\n", ">> ~/.bashrc"},
	{"zsh", "autoload -U +X bashcompinit && bashcompinit\ncomplete -C %s graft\n", ">> ~/.zshrc"},
	// The line before the cursor ends in a space where a new word begins.
	{"fish", `function __graft_complete
    set -lx COMP_LINE (commandline --current-process --cut-at-cursor)
    if test -z (commandline --current-token)
        set COMP_LINE "$COMP_LINE "
    end
    %s
end
complete --command graft --no-files --arguments '(__graft_complete)'
`, "> ~/.config/fish/completions/graft.fish"},
}

func shellNames() []string {
	names := make([]string, len(shells))
	for i, s := range shells {
		names[i] = s.name
	}
	return names
}

func (c *completionsCommand) Run(s streams) error {
	name, from := c.Shell, "as named"
	if name == "" {
		if name, from = filepath.Base(os.Getenv("SHELL")), "as SHELL says"; os.Getenv("SHELL") == "" {
			return usage("SHELL is not set; name the shell: graft install-completions %s", strings.Join(shellNames(), "|"))
		}
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	for _, sh := range shells {
		if sh.name == name {
			if _, err := fmt.Fprintf(s.out, sh.code, sh.quote(program)); err != nil {
				return err
			}
			_, err := fmt.Fprintf(s.err, "printed for %s, %s; no file was changed. To keep it: graft install-completions %s %s\n", name, from, name, sh.keep)
			return err
		}
	}
	return usage("shell %q is not one that graft can be completed in: %s", name, strings.Join(shellNames(), ", "))
}

// plain matches paths that mean themselves in every shell.
var plain = regexp.MustCompile(`^[A-Za-z0-9/._-]+$`)

// quote writes a path as one word of the shell.
func (s shell) quote(path string) string {
	switch {
	case plain.MatchString(path):
		return path
	case s.name == "fish":
		return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(path) + "'"
	}
	once := func(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }
	return once(once(path)) // what complete -C takes is a command line itself
}
