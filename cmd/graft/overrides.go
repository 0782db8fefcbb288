package main

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// overrides are settings that replace a file's: KEY value, KEY value.
type overrides []string

// Decode takes the words up to the next option in pairs, so that a value may
// begin with a hyphen: DATASET.ignore_index -1.
func (o *overrides) Decode(ctx *kong.DecodeContext) error {
	for {
		key := ctx.Scan.Peek()
		if !key.IsValue() {
			return nil
		}
		ctx.Scan.Pop()
		value := ctx.Scan.Pop()
		if value.IsEOL() {
			return fmt.Errorf("%v has no value; settings are pairs of KEY and VALUE, such as TRAIN.num_epoch 10", key)
		}
		*o = append(*o, key.String(), value.String())
	}
}

// gather brings the settings of a command line that stand apart, with options
// between them, together at its end, where the parser wants them. Lines of
// commands without settings stay as they are.
func gather(app *kong.Application, args []string) []string {
	i := slices.IndexFunc(args, func(arg string) bool { return !strings.HasPrefix(arg, "-") })
	if i < 0 || slices.Contains(args, "--") {
		return args
	}
	command := slices.IndexFunc(app.Children, func(n *kong.Node) bool { return n.Name == args[i] })
	if command < 0 || !takesSettings(app.Children[command]) {
		return args
	}
	takesValue := map[string]bool{}
	for _, group := range app.Children[command].AllFlags(false) {
		for _, f := range group {
			takesValue["--"+f.Name] = !f.IsBool()
			takesValue["-"+string(f.Short)] = !f.IsBool()
		}
	}
	options, settings := slices.Clone(args[:i+1]), []string{}
	for i++; i < len(args); i++ {
		to := &settings
		if strings.HasPrefix(args[i], "-") {
			to = &options
		}
		*to = append(*to, args[i])
		if (to == &settings || takesValue[args[i]]) && i+1 < len(args) {
			i++
			*to = append(*to, args[i])
		}
	}
	return append(options, settings...)
}

// takesSettings reports whether a command's only arguments are settings.
func takesSettings(command *kong.Node) bool {
	return len(command.Positional) == 1 && command.Positional[0].Target.Type() == reflect.TypeFor[overrides]()
}
