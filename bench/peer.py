#!/usr/bin/env python3
"""Time training steps, or inference, of an ONNX model in PyTorch.

    peer.py --image image.pb --label label.pb MODEL.onnx

trains the graph that `graft new` wrote on one batch: forward in training mode,
backward, and SGD with momentum, and weight decay on the weights of convolutions
and fully connected layers. The batch is two ONNX tensors: pixels float32
(N,3,H,W), labels (N,H/r,W/r) with -1 for ignored pixels. Printed is one JSON
object: the seconds of every step, the loss before every update, and the peak of
the process's resident memory.

    peer.py --inference --image image.pb --output probability.pb MODEL.onnx

times how long the pictures take to become class probabilities of their own
size: log-probabilities resized bilinearly, then softmax.

A network written by hand in PyTorch frees what it no longer needs and works in
place where it may; so does this walk over the graph.

Needs PyTorch, NumPy and the onnx package (Debian: python3-torch, python3-onnx).
"""

import trace  # the one beside this file, before anything loads Python's own

import argparse
import json
import pathlib
import resource
import time

import numpy as np
import torch
import torch.nn.functional as F
from onnx import helper, numpy_helper


def linear(a, x, training):
    if not a.get("transB") or a.get("transA") or a.get("alpha", 1.0) != 1 or a.get("beta", 1.0) != 1:
        raise SystemExit("Gemm: only a fully connected layer is known here")
    return F.linear(x[0], x[1], x[2])


def unsqueeze(a, x, training):
    for axis in sorted(int(axis) for axis in x[1]):
        x = [x[0].unsqueeze(axis)]
    return x[0]


OPERATORS = {
    **trace.OPERATORS,
    "AdaptiveAveragePool": lambda a, x, t: F.adaptive_avg_pool2d(x[0], a["output_size"]),
    "ChannelDropout": lambda a, x, t: F.dropout2d(x[0], a["ratio"], t),
    "Flatten": lambda a, x, t: torch.flatten(x[0], a["axis"]),
    "Gemm": linear,
    "Unsqueeze": unsqueeze,
    # Bounds as numbers, so that a step does not convert them.
    "Clip": lambda a, x, t: F.hardtanh(x[0], a["low"], a["high"]),
}
IN_PLACE = {
    "Relu": lambda a, x, t: F.relu_(x[0]),
    "Clip": lambda a, x, t: F.hardtanh_(x[0], a["low"], a["high"]),
    "Add": lambda a, x, t: x[0].add_(x[1]),
}


class Network(trace.Graph):
    """A trace.Graph whose walk is prepared once."""

    def __init__(self, path, channels_last):
        super().__init__(path, torch.float32)
        if channels_last:
            self.weights = {k: layout(w.detach(), True).requires_grad_() for k, w in self.weights.items()}
        self.steps = []
        readers, makers = {}, {}
        # Bounds may be stored as initializers; nothing trains them.
        bounds = {i for n in self.nodes if n.op_type == "Clip" for i in n.input[1:]}
        constants = {i: self.weights.pop(i).detach() for i in bounds if i in self.weights}
        for k, n in enumerate(self.nodes):
            makers[n.output[0]] = n
            if n.op_type == "Gemm":
                self.decayed.add(n.input[1])
            for i in n.input:
                readers.setdefault(i, []).append(k)
        for k, n in enumerate(self.nodes):
            attributes = {a.name: helper.get_attribute_value(a) for a in n.attribute}
            inputs, table = list(n.input), OPERATORS
            if n.op_type not in OPERATORS:
                raise SystemExit(f"{path}: node {n.output[0]}: operator {n.op_type} is not known here")
            if n.op_type == "Constant":
                constants[n.output[0]] = OPERATORS["Constant"](attributes, [], True)
                continue
            if n.op_type == "Clip":
                attributes["low"], attributes["high"] = (float(constants[i]) for i in inputs[1:3])
            # The backward pass of BatchNormalization reads its input, not its
            # output, so a single reader may write over it.
            own = [i for i in inputs if len(readers[i]) == 1 and i in makers and makers[i].op_type == "BatchNormalization"]
            if n.op_type in ("Relu", "Clip") and (own or makers[inputs[0]].op_type == "Add" and len(readers[inputs[0]]) == 1):
                table = IN_PLACE
            elif n.op_type == "Add" and own:
                inputs.sort(key=lambda i: i != own[0])
                table = IN_PLACE
            last = [i for i in set(inputs) if i in makers and i not in constants and readers[i][-1] == k and i not in self.outputs]
            self.steps.append((table[n.op_type], attributes, inputs, n.output[0], last))
        self.constants = constants

    def run(self, image, training):
        values = {**self.weights, **self.statistics, **self.constants, "image": image, "": None}
        for operator, attributes, inputs, output, last in self.steps:
            values[output] = operator(attributes, [values[i] for i in inputs], training)
            for name in last:
                del values[name]
        return {name: values[name] for name in self.outputs}


def layout(tensor, channels_last):
    """A tensor in the wanted memory layout, if it has one."""
    if channels_last and tensor.dim() == 4:
        return tensor.contiguous(memory_format=torch.channels_last)
    return tensor


def peak_bytes():
    """The most memory that this process ever had resident."""
    try:
        status = pathlib.Path("/proc/self/status").read_text()
    except OSError:  # not Linux; there the count may include the parent's
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))


def train_step(network, optimizer, options, image, label):
    optimizer.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=options.bf16):
        out = network.run(layout(image, options.channels_last), True)
        loss = F.nll_loss(out["logprob"], label, ignore_index=-1)
        if "logprob_deepsup" in out:
            loss = loss + F.nll_loss(out["logprob_deepsup"], label, ignore_index=-1) * options.deep_sup_scale
    loss.backward()
    optimizer.step()
    return loss.item()


def train(network, options, image):
    label = torch.from_numpy(trace.tensor(options.label).astype(np.int64))
    optimizer = torch.optim.SGD([
        {"params": [w for k, w in network.weights.items() if k in network.decayed], "weight_decay": options.weight_decay},
        {"params": [w for k, w in network.weights.items() if k not in network.decayed]},
    ], lr=options.lr, momentum=options.momentum)
    seconds, losses = [], []
    for _ in range(options.warmup + options.steps):
        begin = time.perf_counter()
        losses.append(train_step(network, optimizer, options, image, label))
        seconds.append(time.perf_counter() - begin)
    return {"seconds": seconds, "losses": losses}


def infer(network, options, image):
    size = (1, 1) if options.whole else image.shape[2:]
    seconds = []
    with torch.inference_mode():
        for _ in range(options.warmup + options.steps):
            begin = time.perf_counter()
            scores = network.run(layout(image, options.channels_last), False)["logprob"]
            # Row-major, as whoever asked reads them.
            probability = F.softmax(F.interpolate(scores, size, mode="bilinear", align_corners=False), 1).contiguous()
            seconds.append(time.perf_counter() - begin)
    peak = peak_bytes()
    if options.output:
        options.output.write_bytes(numpy_helper.from_array(probability.numpy(), "probability").SerializeToString())
    return {"seconds": seconds, "peak_bytes": peak}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("--image", required=True, type=pathlib.Path)
    parser.add_argument("--label", type=pathlib.Path)
    parser.add_argument("--inference", action="store_true", help="class probabilities instead of training")
    parser.add_argument("--batch", type=int, help="how many of the pictures to take; all without it")
    parser.add_argument("--whole", action="store_true", help="with --inference: one probability a class for the whole picture")
    parser.add_argument("--output", type=pathlib.Path, help="with --inference: file for the probabilities")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--bf16", action="store_true", help="autocast to bfloat16")
    parser.add_argument("--warmup", type=int, default=2, help="steps that are not reported")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--lr", type=float, default=0.02)
    parser.add_argument("--momentum", type=float, default=0.9)
    parser.add_argument("--weight-decay", type=float, default=1e-4)
    parser.add_argument("--deep-sup-scale", type=float, default=0.4)
    options = parser.parse_args()
    if not options.inference and options.label is None:
        parser.error("training needs --label")

    torch.set_num_threads(options.threads)
    network = Network(options.model, options.channels_last)
    image = torch.from_numpy(trace.tensor(options.image)[:options.batch].copy())
    result = (infer if options.inference else train)(network, options, image)
    result["seconds"] = result["seconds"][options.warmup:]
    print(json.dumps({
        "program": f"PyTorch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}",
        "peak_bytes": peak_bytes(), **result,
    }))


if __name__ == "__main__":
    main()
