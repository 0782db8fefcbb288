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
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/willabides/kongplete"

	"github.com/graft-onnx/graft/models"
	"github.com/graft-onnx/graft/train"
)

// cli is the command line.
type cli struct {
	New     newCommand     `cmd:"" help:"Make a model: an encoder of graft or of a file, and a decoder."`
	Import  importCommand  `cmd:"" help:"Turn a classification backbone into an encoder."`
	Train   trainCommand   `cmd:"" help:"Train a model."`
	Eval    evalCommand    `cmd:"" help:"Measure a model on labelled pictures: mIoU, IoU by class, pixel accuracy."`
	Predict predictCommand `cmd:"" help:"Segment pictures: colour map, overlay, class shares."`
	Export  exportCommand  `cmd:"" help:"Write a checkpoint as an inference model."`
	Verify  verifyCommand  `cmd:"" help:"Compare an exported model in ONNX Runtime with graft's own evaluation."`
	Inspect inspectCommand `cmd:"" help:"Describe an ONNX file: shapes, parameters, work, operators."`
	Demo    demoCommand    `cmd:"" help:"Show all of it on generated data, in a few minutes."`
	Doctor  doctorCommand  `cmd:"" help:"Check devices, libraries and data sets."`

	InstallCompletions kongplete.InstallCompletions `cmd:"" help:"Install shell completions."`
	Version            kong.VersionFlag             `help:"Print the version."`
}

// streams are where a command writes; tests replace them.
type streams struct {
	out io.Writer // results
	err io.Writer // progress and messages
}

// Exit codes.
const (
	exitFailure = 1
	exitUsage   = 2
	exitStopped = 130 // asked to stop by a signal, state saved
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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exited := -1
	var c cli
	parser, err := kong.New(&c,
		kong.Name("graft"),
		kong.Description("Train and export semantic segmentation models in ONNX.\n\n"+
			"  graft demo                                   see all of it on generated data\n"+
			"  graft new --encoder mobilenetv2dilated --decoder c1_deepsup --classes classes.csv -o model.onnx\n"+
			"  graft train --cfg config.yaml TRAIN.num_epoch 10\n"+
			"  graft export run/checkpoint.onnx -o deploy.onnx"),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Writers(s.out, s.err),
		kong.Exit(func(code int) { exited = code }),
		kong.Vars{
			"version":  version(),
			"encoders": strings.Join(models.Encoders(), ", "),
			"decoders": strings.Join(models.Decoders(), ", "),
		},
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(s, commandLine(append([]string{"graft"}, args...))),
	)
	if err != nil {
		fmt.Fprintf(s.err, "graft: %v\n", err)
		return exitFailure
	}
	kongplete.Complete(parser)
	k, err := parser.Parse(args)
	if exited >= 0 { // --help, --version
		return exited
	}
	if err != nil {
		var parse *kong.ParseError
		if errors.As(err, &parse) && parse.Context != nil {
			parse.Context.PrintUsage(true)
		}
		fmt.Fprintf(s.err, "graft: %v\n", err)
		return exitUsage
	}
	if err := k.Run(); err != nil {
		fmt.Fprintf(s.err, "graft: %v\n", err)
		var usage *usageError
		switch {
		case errors.As(err, &usage):
			return exitUsage
		case errors.Is(err, train.ErrStopped), errors.Is(err, context.Canceled):
			return exitStopped
		}
		return exitFailure
	}
	return 0
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
