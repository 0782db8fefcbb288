// Command graft joins a segmentation decoder to any ONNX backbone, trains the
// ONNX graph and writes it back as ONNX. See `graft --help`.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/willabides/kongplete"

	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/train"
	"github.com/graft-onnx/graft/train/config"
)

// cli is the command line.
type cli struct {
	New     newCommand     `cmd:"" group:"models" help:"Make a model: an encoder of graft or of a file, and a decoder."`
	Import  importCommand  `cmd:"" group:"models" help:"Turn a classification backbone into an encoder."`
	Inspect inspectCommand `cmd:"" group:"models" help:"Describe an ONNX file: shapes, parameters, work, operators."`

	Preset  presetCommand  `cmd:"" group:"training" help:"Write the configuration of a published recipe."`
	Train   trainCommand   `cmd:"" group:"training" help:"Train a model."`
	Eval    evalCommand    `cmd:"" group:"training" help:"Measure a model on labelled pictures: mIoU, IoU by class, pixel accuracy."`
	Report  reportCommand  `cmd:"" group:"training" help:"Write the page about a run: curves, classes, confusion, pictures, data."`
	Predict predictCommand `cmd:"" group:"training" help:"Segment pictures: colour map, overlay, class shares."`
	Test    testCommand    `cmd:"" group:"training" help:"Segment pictures as a configuration says."`
	Data    dataCommand    `cmd:"" group:"training" help:"Describe a data set, and show pictures as training gets them."`

	Export exportCommand `cmd:"" group:"deployment" help:"Write a checkpoint as an inference model."`
	Verify verifyCommand `cmd:"" group:"deployment" help:"Compare an exported model with graft's own evaluation."`

	Demo               demoCommand        `cmd:"" group:"help" help:"Show all of it on generated data, in about a minute."`
	Doctor             doctorCommand      `cmd:"" group:"help" help:"Check devices, libraries and data sets."`
	InstallCompletions completionsCommand `cmd:"" name:"install-completions" group:"help" help:"Print what makes the shell complete graft's commands."`
	Version            kong.VersionFlag   `help:"Print the version."`
}

// streams are where a command writes; tests replace them.
type streams struct {
	out io.Writer // results
	err io.Writer // progress and messages
}

// Exit codes.
const (
	exitFailure = 1   // bad input, or a check that did not pass
	exitUsage   = 2   // a command line that cannot mean anything
	exitStopped = 130 // stopped by a signal, nothing left half written
)

func main() { os.Exit(run(os.Args[1:], streams{os.Stdout, os.Stderr})) }

// run executes one command line and returns the exit code.
func run(args []string, s streams) (code int) {
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintf(s.err, "graft: internal error: %v\n%s\nPlease report this with the command line and the file that caused it.\n", p, debug.Stack())
			code = exitFailure
		}
	}()
	ctx, stop := signal.NotifyContext(context.Background(), stopSignals...)
	defer stop()
	// The first signal lets the command finish its step and save; the second
	// finds the default handler again and ends the process.
	defer context.AfterFunc(ctx, stop)()
	if len(args) == 0 && os.Getenv("COMP_LINE") == "" {
		args = []string{"--help"}
	}
	exited := -1
	parser, err := newParser(ctx, args, s, func(code int) { exited = code })
	if err != nil {
		fmt.Fprintf(s.err, "graft: %v\n", err)
		return exitFailure
	}
	kongplete.Complete(parser, kongplete.WithPredictors(predictors()))
	if exited >= 0 { // asked for completions
		return exited
	}
	k, err := parser.Parse(gather(parser.Model, args))
	if exited >= 0 { // --help, --version
		return exited
	}
	if err != nil {
		command := "graft"
		var parse *kong.ParseError
		if errors.As(err, &parse) && parse.Context != nil && parse.Context.Selected() != nil {
			command += " " + parse.Context.Selected().Name
		}
		fmt.Fprintf(s.err, "graft: %v; see %s --help\n", err, command)
		return exitUsage
	}
	return exitCode(k.Run(), s.err)
}

// exitCode tells of an error on w.
func exitCode(err error, w io.Writer) int {
	var usage *usageError
	var settings *config.Errors
	var exit *exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.code
	case errors.Is(err, train.ErrStopped):
		fmt.Fprintf(w, "graft: %v\n", err)
		return exitStopped
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(w, "graft: stopped")
		return exitStopped
	}
	fmt.Fprintf(w, "graft: %v\n", err)
	if errors.As(err, &usage) || errors.As(err, &settings) && settings.OnCommandLine() {
		return exitUsage
	}
	return exitFailure
}

const description = `Train and export semantic segmentation models in ONNX.

  graft demo                                  see all of it on generated data
  graft new --encoder mobilenetv2dilated --decoder c1_deepsup --classes classes.csv
  graft train --cfg config.yaml TRAIN.num_epoch 10
  graft export run/checkpoint.onnx -o deploy.onnx`

func newParser(ctx context.Context, args []string, s streams, exit func(int)) (*kong.Kong, error) {
	return kong.New(&cli{},
		kong.Name("graft"),
		kong.Description(description),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.ExplicitGroups([]kong.Group{
			{Key: "models", Title: "Models"},
			{Key: "training", Title: "Training"},
			{Key: "deployment", Title: "Deployment"},
			{Key: "help", Title: "Getting along"},
			{Key: "norm", Title: "Batch normalisation"},
			{Key: "device", Title: "Device"},
		}),
		kong.Writers(s.out, s.err),
		kong.Exit(exit),
		kong.Vars{
			"version":  version(),
			"encoders": strings.Join(models.Encoders(), ", "),
			"decoders": strings.Join(models.Decoders(), ", "),
		},
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(s, commandLine(append([]string{"graft"}, args...))),
	)
}

// commandLine is the command as typed.
type commandLine []string

// usageError is a command line that cannot mean anything.
type usageError struct{ msg string }

func (e *usageError) Error() string { return e.msg }

func usage(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// version returns the module's version, or the revision it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return "devel " + s.Value
		}
	}
	return "devel"
}
