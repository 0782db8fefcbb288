#!/usr/bin/env python3
"""Train graft's networks at full width in plain PyTorch, and record the numbers.

    fullwidth.py MODEL.onnx...               print how far PyTorch lies from itself
    fullwidth.py --record DIR MODEL.onnx...  also write DIR/ENCODER-DECODER.json,
                                             which the test of the training loop
                                             reads
    fullwidth.py --full DIR MODEL.onnx...    also write every gradient whole to
                                             DIR/ENCODER-DECODER.onnx

Each MODEL.onnx is what `graft new` wrote. Of the file only the initializers
are read, into the modules of modules.py, by name and without rest on either
side. The truth is double precision; how far single precision lies from it when
nothing but rounding changes is the measure for another program.

Batches, and what else is arbitrary, are drawn from SplitMix64, which a test in
another language can repeat: element i of stream s is the hash of s * 2^32 + i.
All of it is exact in single precision.

Needs PyTorch, NumPy and the onnx package (Debian: python3-torch, python3-onnx,
and libopenblas0, without which double precision takes hours).
"""

import trace  # the one beside this file, before anything loads Python's own

import argparse
import hashlib
import pathlib

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import helper, numpy_helper
from torch import nn

import modules

# Odd at most strides, and wider than high.
BATCH, HEIGHT, WIDTH = 4, 72, 104
ITERATIONS = 3
CONFIG = {"momentum": 0.9, "weight_decay": 1e-4, "lr_pow": 0.9, "max_iters": 10, "deep_sup_scale": 0.4}
# Of the loss: by how much the first step would lower it if the loss were
# linear, through the encoder's and through the decoder's learning rate each.
# Larger steps make rounding grow.
DESCENT = 0.01


# --- numbers that any program can draw ---------------------------------------

SIGNS, LABELS, IMAGES, CELLS, SHIFTS = 0, 1 << 8, 2 << 8, 3 << 8, 4 << 8  # streams


def bits(stream, count):
    """SplitMix64 of the stream's first numbers."""
    with np.errstate(over="ignore"):
        z = (np.arange(1, count + 1, dtype=np.uint64) + np.uint64(stream << 32)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def octets(stream, count):
    return (bits(stream, count) >> np.uint64(56)).astype(np.float32)


CELL = 16  # pixels


def picture(index):
    """(N,3,H,W) in [-2, 2): a mosaic, and noise of a third of its strength, so
    that no batch normalisation sees nearly equal pictures."""
    rows, columns = -(-HEIGHT // CELL), -(-WIDTH // CELL)
    mosaic = octets(CELLS + index, BATCH * 3 * rows * columns).reshape(BATCH, 3, rows, columns)
    mosaic = mosaic.repeat(CELL, 2).repeat(CELL, 3)[:, :, :HEIGHT, :WIDTH]
    noise = octets(IMAGES + index, BATCH * 3 * HEIGHT * WIDTH).reshape(mosaic.shape)
    return (3 * (mosaic - 128) + (noise - 128)) / 256


def label(index, shape, classes):
    """(N,h,w) in -1 (ignored), 0, ... classes-1."""
    drawn = bits(LABELS + index, int(np.prod(shape))) % np.uint64(classes + 1)
    return torch.from_numpy(drawn.astype(np.int64).reshape(shape) - 1)


PROJECTIONS = 3


def fingerprint(v):
    """Norm, and sums of the elements with signs from the lowest bits of their
    hash. The root mean square of such sums of a difference of two vectors
    estimates its norm."""
    v = np.asarray(v, np.float64).reshape(-1)
    hashed = bits(SIGNS, v.size)
    sums = [np.sum(np.where(hashed >> np.uint64(k) & np.uint64(1), v, -v)) for k in range(PROJECTIONS)]
    return [float(f"{x:.7g}") for x in [np.linalg.norm(v), *sums]]


# --- the network -------------------------------------------------------------

class Start:
    """The initializers of a file, and what every variant starts from."""

    def __init__(self, path):
        model = onnx.load(path)
        names = {p.key: p.value for p in model.metadata_props}
        self.encoder, self.decoder = names["graft.encoder"], names["graft.decoder"]
        self.tensors, digest = {}, hashlib.sha256()
        for t in model.graph.initializer:
            v = numpy_helper.to_array(t)
            digest.update(t.name.encode() + v.astype("<f4").tobytes())
            self.tensors[t.name] = v.copy()
        self.sha256 = digest.hexdigest()
        self.classes = model.graph.output[0].type.tensor_type.shape.dim[1].dim_value
        self.batch, self.shifted = 0, {}
        self.unsettle()

    @property
    def name(self):
        return f"{self.encoder}-{self.decoder}"

    def unsettle(self):
        """A new network normalises with scale 1 and shift 0, and its running
        statistics are 0 and 1; then forgetting one of them would not show. What
        bottlenecks add in the long stages is small, since rounding would grow
        by a third from block to block otherwise."""
        for i, (name, v) in enumerate(self.tensors.items()):
            if name.rsplit(".", 1)[0] + ".running_mean" not in self.tensors:
                continue
            drawn = octets(SHIFTS + i, v.size)
            match name.rsplit(".", 1)[1]:
                case "weight":
                    v[:] = 0.75 + drawn / 512
                    if name.endswith(".bn3.weight") and (".layer3." in name or ".layer4." in name):
                        v /= 8
                case "bias" | "running_mean":
                    v[:] = (drawn - 128) / 512
                case "running_var":
                    v[:] = 0.5 + drawn / 256

    def network(self, dtype):
        """The modules with the file's parameters. Every one is used, none is
        missing, and shapes are equal."""
        network = modules.Network(self.encoder, self.decoder, self.classes)
        state = {k: v for k, v in network.state_dict().items() if not k.endswith(".num_batches_tracked")}
        wrong = state.keys() ^ self.tensors.keys()
        wrong |= {k for k in state.keys() & self.tensors.keys() if state[k].shape != self.tensors[k].shape}
        if wrong:
            raise SystemExit(f"{self.name}: the file and the modules do not agree on {', '.join(sorted(wrong))}")
        network.load_state_dict({k: torch.from_numpy(v) for k, v in self.tensors.items()}, strict=False)
        return network.to(dtype)


# --- away from corners -------------------------------------------------------

# How close to a bound of a ReLU a value may come, in the tensor's root mean
# square, and how close the two largest values under a max pooling. Rounding
# does not reach that far.
NEAR, NEAR_POOL = 1e-4, 5e-6
UNIT = 1 / 1024  # what shifts are moved by


class NearTie(Exception):
    """A max pooling could choose another element after rounding."""


class Clearance:
    """Moves the shift of the last batch normalisation before a ReLU, channel by
    channel, until no value of the first batch lies next to a bound: there the
    derivative jumps, so that rounding would decide over whole elements of the
    gradient. Shifts pass unchanged through the sums and interpolations that may
    come between. Where a max pooling has near ties, the next batch is tried."""

    def __init__(self, start):
        self.start = start
        while not self.attempt():
            start.batch += 1
        for name, moved in start.shifted.items():
            for channel, steps in moved.items():
                start.tensors[name][int(channel)] += steps * UNIT

    def attempt(self):
        self.start.shifted = {}
        network = self.start.network(torch.float64).train()
        for name, layer in network.named_modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.register_forward_pre_hook(lambda layer, x, name=name: setattr(self, "bias", name + ".bias"))
            elif isinstance(layer, nn.ReLU6):
                layer.register_forward_pre_hook(lambda layer, x: self.clear(x[0], 0, 6))
            elif isinstance(layer, nn.ReLU):
                layer.register_forward_pre_hook(lambda layer, x: self.clear(x[0], 0))
            elif isinstance(layer, nn.MaxPool2d):
                layer.register_forward_pre_hook(lambda layer, x: self.compare(x[0]))
        try:
            with torch.no_grad():
                network(torch.from_numpy(picture(self.start.batch)).double())
        except NearTie:
            return False
        return True

    def clear(self, x, *bounds):
        """The input of a ReLU, moved."""
        near = NEAR * root_mean_square(x)

        def close(v):
            return torch.stack([(v - b).abs() < near for b in bounds]).any(0)

        x = x.clone()
        for channel in close(x).any(3).any(2).any(0).nonzero().flatten().tolist():
            steps = 1
            while close(x[:, channel] + steps * UNIT).any():
                steps = -steps if steps > 0 else 1 - steps
            x[:, channel] += steps * UNIT
            self.start.shifted.setdefault(self.bias, {})[str(channel)] = steps
        return x

    def compare(self, x):
        """The two largest of every window of 3x3, stride 2."""
        windows = F.unfold(F.pad(x.flatten(0, 1)[:, None], (1, 1, 1, 1)), 3, stride=2)
        first, second = torch.topk(windows, 2, 1).values.unbind(1)
        if ((first > 0) & (first - second < NEAR_POOL * root_mean_square(x))).any():
            raise NearTie


def root_mean_square(x):
    return x.square().mean().sqrt()


# --- training ----------------------------------------------------------------

# Channels last is left out: there PyTorch's batch normalisation is so coarse
# (4e-6 of MobileNetV2's first loss) that it still reaches the corners.
VARIANTS = [v for v in trace.VARIANTS if v.name not in ("1 thread", "channels last")]


class Run:
    """What a variant finds: outputs in evaluation before and after, the gradients
    of iteration 0, and every loss. Without rates there is no step."""

    def __init__(self, start, variant, rates=None):
        torch.set_num_threads(variant.threads)
        self.losses, self.accuracies = [], []
        with torch.backends.mkldnn.flags(enabled=variant.onednn):
            network = start.network(variant.dtype)
            parameters = dict(network.named_parameters())
            optimizer = torch.optim.SGD(groups(network), momentum=CONFIG["momentum"])
            self.evaluation = evaluate(network, start, variant)
            for i in range(ITERATIONS if rates else 1):
                optimizer.zero_grad()
                loss, accuracy = iterate(network.train(), start, variant, i)
                self.losses.append(loss)
                self.accuracies.append(accuracy)
                if i == 0:
                    self.gradients = trace.copies({k: w.grad for k, w in parameters.items()})
                if rates:
                    for group in optimizer.param_groups:
                        group["lr"] = rates[group["part"]] * (1 - i / CONFIG["max_iters"]) ** CONFIG["lr_pow"]
                    optimizer.step()
            self.evaluation_end = evaluate(network, start, variant)


def groups(network):
    """Weights of convolutions decay, nothing else does."""
    for part, module in (("encoder", network.encoder), ("decoder", network.decoder)):
        decayed = [m.weight for m in module.modules() if isinstance(m, nn.Conv2d)]
        rest = [w for w in module.parameters() if not any(w is d for d in decayed)]
        yield {"params": decayed, "lr": 0.0, "weight_decay": CONFIG["weight_decay"], "part": part}
        yield {"params": rest, "lr": 0.0, "part": part}


def image(start, variant, i):
    return variant.image(picture(start.batch + i))


def evaluate(network, start, variant):
    with torch.no_grad():
        return [y.double().numpy() for y in network.eval()(image(start, variant, 0))]


def iterate(network, start, variant, i):
    """Loss and accuracy of an iteration; gradients stay in the network."""
    outputs = network(image(start, variant, i))
    labels = label(start.batch + i, outputs[0][:, 0].shape, start.classes)
    losses = [F.nll_loss(y, labels, ignore_index=-1) for y in outputs]
    loss = sum((CONFIG["deep_sup_scale"] * d for d in losses[1:]), losses[0])
    loss.backward()
    valid = labels >= 0
    correct = (outputs[0].argmax(1) == labels) & valid
    return loss.item(), correct.sum().item() / valid.sum().item()


def learning_rates(run):
    """For the encoder's and the decoder's parameters, see DESCENT."""
    rates = {}
    for part in ("encoder", "decoder"):
        square = sum(np.sum(g ** 2) for k, g in run.gradients.items() if k.startswith(part))
        rates[part] = float(f"{DESCENT * run.losses[0] / square:.1g}")
    return rates


# --- comparison --------------------------------------------------------------

def apart(run, exact):
    """Norm of the difference over norm, of the outputs that differ most."""
    return max(float(np.linalg.norm(a - b) / np.linalg.norm(b)) for a, b in zip(run, exact))


def measure(start):
    """The record of a network, and the exact run."""
    Clearance(start)
    first = Run(start, VARIANTS[0])
    rates = learning_rates(first)
    runs = [Run(start, v, rates) for v in VARIANTS]
    exact = runs[-1]
    total = np.sqrt(sum(np.sum(g ** 2) for g in exact.gradients.values()))
    spread = trace.spread([r.gradients for r in runs])
    record = {
        "torch": torch.__version__,
        "encoder": start.encoder, "decoder": start.decoder, "classes": start.classes,
        "parameters": sum(g.size for g in exact.gradients.values()),
        "sha256": start.sha256,
        "batch": start.batch, "pictures": BATCH, "height": HEIGHT, "width": WIDTH,
        "shifted": start.shifted,
        "config": {**CONFIG, "lr_encoder": rates["encoder"], "lr_decoder": rates["decoder"]},
        "losses": exact.losses, "accuracies": [round(a, 6) for a in exact.accuracies],
        "variants": [{
            "name": v.name,
            "evaluation": trace.significant(apart(r.evaluation, exact.evaluation)),
            "evaluation_end": trace.significant(apart(r.evaluation_end, exact.evaluation_end)),
            "losses": [trace.significant(abs(a / b - 1)) for a, b in zip(r.losses, exact.losses)],
            "gradients": trace.significant(trace.distance(r.gradients, exact.gradients)),
        } for v, r in zip(VARIANTS[:-1], runs)],
        "evaluation": [fingerprint(y) for y in exact.evaluation],
        "evaluation_end": [fingerprint(y) for y in exact.evaluation_end],
        "vanishing": [k for k, g in exact.gradients.items() if np.linalg.norm(g) < 1e-12 * total],
        # By parameter: its gradient's fingerprint, and how far the variants lie
        # from it.
        "gradients": {k: [*fingerprint(g), spread[k]] for k, g in exact.gradients.items()},
    }
    return record, exact


def show(record):
    print(f"{record['encoder']} + {record['decoder']}, {record['parameters']} parameters, PyTorch {record['torch']}; "
          f"batch {record['batch']}, {sum(map(len, record['shifted'].values()))} channels shifted, "
          f"rates {record['config']['lr_encoder']:g} {record['config']['lr_decoder']:g}, losses {record['losses']}")
    for v in record["variants"]:
        print(f"  {v['name']:18} evaluation {v['evaluation']:.1e}, gradients {v['gradients']:.1e}, "
              f"losses {' '.join(f'{x:.0e}' for x in v['losses'])}, evaluation at the end {v['evaluation_end']:.1e}")
    widest = sorted(((g[-1], k) for k, g in record["gradients"].items() if k not in record["vanishing"]), reverse=True)
    print("  gradients furthest apart:", ", ".join(f"{k} {s:.1e}" for s, k in widest[:4]), flush=True)


def write_whole(path, exact):
    """One ONNX file without nodes: the gradients under their parameters' names,
    and output.0, output.1: those of the evaluation."""
    named = {**exact.gradients, **{f"output.{i}": y for i, y in enumerate(exact.evaluation)}}
    tensors = [numpy_helper.from_array(v.astype(np.float32), k) for k, v in named.items()]
    model = helper.make_model(helper.make_graph([], "gradients", [], [], tensors), opset_imports=[helper.make_opsetid("", 15)])
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--record", metavar="DIR", type=pathlib.Path, help="write what the test needs here")
    parser.add_argument("--full", metavar="DIR", type=pathlib.Path, help="write whole gradients here")
    options = parser.parse_args()
    for path in options.models:
        start = Start(path)
        record, exact = measure(start)
        show(record)
        if options.record:
            trace.write_json(options.record / (start.name + ".json"), record)
        if options.full:
            write_whole(options.full / (start.name + ".onnx"), exact)


if __name__ == "__main__":
    main()
