#!/usr/bin/env python3
"""Repeat the training traces of the reference folder in plain PyTorch.

Each folder holds an ONNX graph and the batches it was trained on. This script
walks the graph node by node with PyTorch's own operators, trains as the
folder's README says, and tells how far PyTorch lies from itself when nothing
but rounding changes: other thread counts, other convolution code, another
memory layout, images moved by one unit in the last place, double precision.
That spread is the measure for how closely another implementation can follow.

    trace.py FOLDER...                 print the tables
    trace.py --record DIR FOLDER...    also write DIR/NAME.json, which the test
                                       of the training loop reads: the spread,
                                       the values near a corner of ReLU or Clip,
                                       and a second, calmer trace
    trace.py --states DIR FOLDER...    also write what the first variant had
                                       before every iteration and what it found
                                       to DIR/NAME/state_I.onnx, corners_I.json

Needs PyTorch, NumPy and the onnx package (Debian: python3-torch, python3-onnx).
"""

import argparse
import json
import pathlib

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import helper, numpy_helper


# --- the graph ---------------------------------------------------------------

class Graph:
    """An ONNX graph that PyTorch executes, parameters by initializer name."""

    def __init__(self, path, dtype):
        model = onnx.load(path)
        self.nodes = model.graph.node
        self.outputs = [o.name for o in model.graph.output]
        self.weights = {}  # trained
        self.statistics = {}  # running mean and variance
        self.decayed = set()  # names of the weights that decay
        running = set()
        for n in self.nodes:
            if n.op_type == "BatchNormalization":
                running.update(n.input[3:5])
            elif n.op_type == "Conv":
                self.decayed.add(n.input[1])
        for t in model.graph.initializer:
            v = torch.from_numpy(numpy_helper.to_array(t).copy())
            if not v.is_floating_point():
                raise SystemExit(f"{path}: initializer {t.name} is not a float")
            v = v.to(dtype)
            if t.name in running:
                self.statistics[t.name] = v
            else:
                self.weights[t.name] = v.requires_grad_()

    def run(self, image, training, watch=None, sides=None):
        """The named outputs. watch(node, arguments) sees every node at work.
        sides fixes, by the name of its input, on which side of its bounds a ReLU
        or Clip finds every element: -1 below, 0 between, 1 above."""
        values = {**self.weights, **self.statistics, "image": image, "": None}
        for n in self.nodes:
            attributes = {a.name: helper.get_attribute_value(a) for a in n.attribute}
            arguments = [values[i] for i in n.input]
            try:
                operator = OPERATORS[n.op_type]
            except KeyError:
                raise SystemExit(f"node {n.output[0]}: operator {n.op_type} is not known here")
            if watch:
                watch(n, arguments)
            if sides and n.op_type in ("Relu", "Clip"):
                side, x = sides[n.input[0]], arguments[0]
                low, high = bounds(n, arguments)
                y = torch.where(side == 0, x, torch.full_like(x, low))
                y = torch.where(side > 0, torch.full_like(x, high), y)
            else:
                y = operator(attributes, arguments, training)
            values[n.output[0]] = y
        return {name: values[name] for name in self.outputs}


def bounds(node, arguments):
    """Between which values a ReLU or Clip lets its input through."""
    return (0.0, np.inf) if node.op_type == "Relu" else tuple(float(v) for v in arguments[1:3])


def decimal(x):
    """The short decimal a single-precision attribute was written from."""
    return float(str(np.float32(x)))


def convolve(a, x, training):
    top, left, bottom, right = a.get("pads", [0, 0, 0, 0])
    if (top, left) != (bottom, right) or a.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise SystemExit("Conv: only symmetric padding is known here")
    return F.conv2d(x[0], x[1], x[2] if len(x) > 2 else None,
                    stride=a.get("strides", [1, 1]), padding=(top, left),
                    dilation=a.get("dilations", [1, 1]), groups=a.get("group", 1))


def normalize(a, x, training):
    return F.batch_norm(x[0], x[3], x[4], x[1], x[2], training,
                        momentum=round(1 - decimal(a.get("momentum", 0.9)), 6),
                        eps=decimal(a.get("epsilon", 1e-5)))


def max_pool(a, x, training):
    top, left, _, _ = a["pads"]
    return F.max_pool2d(x[0], a["kernel_shape"], a["strides"], (top, left))


def average_pool(a, x, training):
    # The exporter wrote adaptive pooling to a divisor of the size this way.
    kernel, size = a["kernel_shape"], x[0].shape[2:]
    if kernel != a["strides"] or any(s % k for s, k in zip(size, kernel)) or any(a.get("pads", [])):
        raise SystemExit("AveragePool: only a tiling without rest is known here")
    return F.adaptive_avg_pool2d(x[0], [s // k for s, k in zip(size, kernel)])


def resize(a, x, training):
    if (a["mode"], a["coordinate_transformation_mode"]) != (b"linear", b"half_pixel"):
        raise SystemExit("Resize: only linear, half_pixel is known here")
    return F.interpolate(x[0], size=[int(v) for v in x[3][2:]], mode="bilinear", align_corners=False)


OPERATORS = {
    "Conv": convolve,
    "BatchNormalization": normalize,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "Resize": resize,
    "GlobalAveragePool": lambda a, x, t: F.adaptive_avg_pool2d(x[0], 1),
    "Relu": lambda a, x, t: F.relu(x[0]),
    "Clip": lambda a, x, t: F.hardtanh(x[0], float(x[1]), float(x[2])),
    "Add": lambda a, x, t: x[0] + x[1],
    "Concat": lambda a, x, t: torch.cat(x, a["axis"]),
    "LogSoftmax": lambda a, x, t: F.log_softmax(x[0], a["axis"]),
    # Shape arithmetic.
    "Constant": lambda a, x, t: torch.from_numpy(numpy_helper.to_array(a["value"]).copy()),
    "Shape": lambda a, x, t: torch.tensor(x[0].shape),
    "Cast": lambda a, x, t: x[0],
    "Gather": lambda a, x, t: x[0][x[1]],
    "Slice": lambda a, x, t: x[0][int(x[1]):int(x[2])],
    "Unsqueeze": lambda a, x, t: x[0].reshape([1]),
}


# --- training ----------------------------------------------------------------

class Variant:
    """One way to compute the same numbers."""

    def __init__(self, name, dtype=torch.float32, threads=1, onednn=True, channels_last=False, ulp=None):
        self.name, self.dtype, self.threads = name, dtype, threads
        self.onednn, self.channels_last, self.ulp = onednn, channels_last, ulp

    def image(self, x):
        if self.ulp is not None:  # every pixel one unit in the last place up or down
            up = np.random.default_rng(self.ulp).integers(0, 2, x.shape) > 0
            x = np.nextafter(x, np.where(up, np.inf, -np.inf).astype(x.dtype))
        t = torch.from_numpy(x.copy()).to(self.dtype)
        return t.contiguous(memory_format=torch.channels_last) if self.channels_last else t


# The first is what the stored traces were made with.
VARIANTS = [
    Variant("2 threads", threads=2),
    Variant("1 thread"),
    Variant("without oneDNN", onednn=False),
    Variant("channels last", channels_last=True),
    Variant("image +-1 ulp, a", ulp=1),
    Variant("image +-1 ulp, b", ulp=2),
    Variant("float64", dtype=torch.float64),
]


class Run:
    """A training run: losses and accuracies of every iteration, the gradients of
    the first, and every tensor's total update. config overrides the trace's;
    visit(iteration, Moment) is called between gradients and update."""

    def __init__(self, folder, variant, config=None, visit=None):
        torch.set_num_threads(variant.threads)
        trace = json.loads((folder / "trace.json").read_text())
        config = {**trace["config"], **(config or {})}
        graph = Graph(str(folder / "model.onnx"), variant.dtype)
        start = copies({**graph.weights, **graph.statistics})
        velocity = {}
        self.losses, self.accuracies, self.gradients = [], [], {}
        with torch.backends.mkldnn.flags(enabled=variant.onednn):
            for i in range(len(trace["trace"])):
                moment = Moment(graph, velocity) if visit else None
                loss, accuracy = iterate(graph, folder, variant, i, config["deep_sup_scale"], moment and moment.watch)
                gradients = copies({k: w.grad for k, w in graph.weights.items()})
                self.losses.append(loss)
                self.accuracies.append(accuracy)
                self.gradients = self.gradients or gradients
                if visit:
                    moment.loss, moment.gradients = loss, gradients
                    visit(i, moment)
                    torch.set_num_threads(variant.threads)
                step(graph, velocity, config, (1 - i / config["max_iters"]) ** config["lr_pow"])
        end = copies({**graph.weights, **graph.statistics})
        self.updates = {k: end[k] - start[k] for k in end}


def iterate(graph, folder, variant, iteration, deep_sup_scale, watch=None, sides=None):
    """Loss and accuracy of an iteration; the gradients stay in the graph."""
    image = variant.image(tensor(folder / f"image_{iteration % 3}.pb"))
    label = torch.from_numpy(tensor(folder / f"label_{iteration % 3}.pb").astype(np.int64))
    out = graph.run(image, True, watch, sides)
    loss = F.nll_loss(out["logprob"], label, ignore_index=-1)
    if "logprob_deepsup" in out:
        loss = loss + F.nll_loss(out["logprob_deepsup"], label, ignore_index=-1) * deep_sup_scale
    for w in graph.weights.values():
        w.grad = None
    loss.backward()
    valid = label >= 0
    correct = (out["logprob"].argmax(1) == label) & valid
    return loss.item(), correct.sum().item() / valid.sum().item()


class Moment:
    """What a network is before an iteration, and what the iteration finds."""

    def __init__(self, graph, velocity):
        self.values = copies({**graph.weights, **graph.statistics})
        self.velocity = copies(velocity)
        self.corners, self.sides = {}, {}

    def watch(self, node, arguments):
        if node.op_type in ("Relu", "Clip"):
            x, (low, high) = arguments[0].detach().contiguous(), bounds(node, arguments)
            self.corners[node.input[0]] = corner(x.numpy().reshape(-1), low, high)
            self.sides[node.input[0]] = (x >= high).to(torch.int8) - (x <= low).to(torch.int8)

    def gradients_of(self, folder, variant, iteration):
        """The gradients that another variant finds in the same place, with every
        element on the same side of its corner."""
        torch.set_num_threads(variant.threads)
        config = json.loads((folder / "trace.json").read_text())["config"]
        graph = Graph(str(folder / "model.onnx"), variant.dtype)
        with torch.no_grad():
            for k, v in {**graph.weights, **graph.statistics}.items():
                v.copy_(torch.from_numpy(self.values[k]))
        with torch.backends.mkldnn.flags(enabled=variant.onednn):
            iterate(graph, folder, variant, iteration, config["deep_sup_scale"], sides=self.sides)
        return copies({k: w.grad for k, w in graph.weights.items()})


# How far from a corner a value is still listed, in the tensor's root mean square.
NEAR = 1e-3


def corner(x, low, high):
    """The elements of x (row-major) next to low or high with their values, and
    how many lie between the two."""
    near = NEAR * np.sqrt(np.mean(x.astype(np.float64) ** 2))
    index = np.nonzero((np.abs(x - low) < near) | (np.abs(x - high) < near))[0]
    value = [float(f"{v:.3g}") if abs(v) < 1 else float(v) for v in x[index]]
    return {"active": int(np.sum((x > low) & (x < high))), "index": index.tolist(), "value": value}


def step(graph, velocity, config, decay):
    """Stochastic gradient descent: v = m*v + g + d*w; w -= rate*v."""
    with torch.no_grad():
        for name, w in graph.weights.items():
            g = w.grad
            if name in graph.decayed:
                g = g.add(w, alpha=config["weight_decay"])
            if name in velocity:
                velocity[name].mul_(config["momentum"]).add_(g)
            else:
                velocity[name] = g.clone()
            rate = config["lr_encoder"] if name.startswith("encoder.") else config["lr_decoder"]
            w.add_(velocity[name], alpha=-rate * decay)


def copies(tensors):
    return {k: v.detach().double().numpy().copy() for k, v in tensors.items()}


def tensor(path):
    t = onnx.TensorProto()
    t.ParseFromString(path.read_bytes())
    return numpy_helper.to_array(t)


def initializers(path):
    return {t.name: numpy_helper.to_array(t).astype(np.float64) for t in onnx.load(str(path)).graph.initializer}


# --- comparison --------------------------------------------------------------

def distance(got, want):
    """Norm of the difference over norm, all tensors as one vector."""
    square = sum(np.sum((got[k] - w) ** 2) for k, w in want.items())
    return float(np.sqrt(square / sum(np.sum(w ** 2) for w in want.values())))


def spread(variants):
    """Each tensor's largest relative distance from the last variant."""
    exact = variants[-1]
    return {k: significant(max(np.linalg.norm(v[k] - e) for v in variants) / max(np.linalg.norm(e), 1e-300))
            for k, e in exact.items()}


def compare(folder, visit=None):
    """Every variant's trace and how far its first gradients lie from the stored
    ones and from those of float64."""
    stored = initializers(folder / "gradients_0.onnx")
    runs = [Run(folder, v, visit=visit if k == 0 else None) for k, v in enumerate(VARIANTS)]
    exact = runs[-1].gradients
    total = np.sqrt(sum(np.sum(g ** 2) for g in exact.values()))
    return {
        # Zero but for rounding: the bias of a BatchNormalization whose only
        # reader is the convolution of another one, which takes the mean away.
        "vanishing": [k for k, g in exact.items() if np.linalg.norm(g) < 1e-12 * total],
        "stored_gradient_to_float64": significant(distance(stored, exact)),
        "variants": [{
            "name": v.name, "losses": r.losses, "accuracies": [round(a, 6) for a in r.accuracies],
            "gradient_to_stored": significant(distance(r.gradients, stored)),
            "gradient_to_float64": significant(distance(r.gradients, exact)),
        } for v, r in zip(VARIANTS, runs)],
    }


# How far apart the losses of the calm trace may be, relative.
CALM = 1e-3


def compare_calm(folder):
    """The calm trace in every variant: learning rates so small that rounding has
    no time to grow, and weight decay so large that it shows. Updates are those
    of float64: norm, sum with alternating signs over the square root of the
    length, and the largest relative distance of another variant from them."""
    original = json.loads((folder / "trace.json").read_text())["config"]
    for slower in 10 ** np.arange(3, 9):
        config = {"weight_decay": 1.0, **{k: float(f"{original[k] / slower:.6g}") for k in ("lr_encoder", "lr_decoder")}}
        runs = [Run(folder, v, config) for v in VARIANTS]
        losses = np.array([r.losses for r in runs])
        if np.max(np.abs(losses / losses[-1] - 1)) <= CALM:
            break
    apart = spread([r.updates for r in runs])
    updates = {}
    for name, exact in runs[-1].updates.items():
        flat = exact.reshape(-1)
        norm = np.linalg.norm(flat)
        alternating = (flat[0::2].sum() - flat[1::2].sum()) / np.sqrt(flat.size)
        updates[name] = [float(f"{norm:.7g}"), float(f"{alternating:.7g}"), apart[name]]
    return {"config": config, "updates": updates,
            "variants": [{"name": v.name, "losses": r.losses} for v, r in zip(VARIANTS, runs)]}


def significant(x):
    return float(f"{x:.2g}")


# --- output ------------------------------------------------------------------

def show(folder, result):
    stored = [s["loss"] for s in json.loads((folder / "trace.json").read_text())["trace"]]
    print(f"{folder.name}, PyTorch {torch.__version__}")
    print("  gradients of iteration 0, relative distance")
    print(f"    {'stored':18} to float64 {result['stored_gradient_to_float64']:.1e}")
    for v in result["variants"]:
        print(f"    {v['name']:18} to float64 {v['gradient_to_float64']:.1e}, to stored {v['gradient_to_stored']:.1e}")
    print("  the same with every ReLU and Clip on the side of the first variant")
    for name, d in result["same_sides_to_float64"].items():
        print(f"    {name:18} to float64 {d:.1e}")
    print("  losses, relative difference to the stored ones, iteration by iteration")
    show_losses(result["variants"], stored)
    calm = result["calm"]
    print("  losses of the calm trace, relative difference to float64")
    show_losses(calm["variants"], calm["variants"][-1]["losses"])
    apart = sorted(u[2] for u in calm["updates"].values())
    print(f"  updates of the calm trace, spread: median {apart[len(apart) // 2]:.1e}, largest {apart[-1]:.1e}", flush=True)


def show_losses(variants, reference):
    for v in variants:
        print(f"    {v['name']:18}", " ".join(f"{abs(a - b) / b:5.0e}" for a, b in zip(v["losses"], reference)))


def write_json(path, document):
    """Objects of objects one entry a line, so that a change shows as one."""
    def lines(value, depth):
        pad = " " * depth
        if depth < 2 and isinstance(value, dict):
            return "{\n" + ",\n".join(f"{pad} {json.dumps(k)}: {lines(v, depth + 1)}" for k, v in value.items()) + f"\n{pad}}}"
        if depth < 3 and value and isinstance(value, (dict, list)):
            nested = value.values() if isinstance(value, dict) else value
            if any(isinstance(v, (dict, list)) for v in nested):
                if isinstance(value, dict):
                    return "{\n" + ",\n".join(f"{pad} {json.dumps(k)}: {lines(v, 3)}" for k, v in value.items()) + f"\n{pad}}}"
                return "[\n" + ",\n".join(f"{pad} {lines(v, 3)}" for v in value) + f"\n{pad}]"
        return json.dumps(value, separators=(",", ":"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(lines(document, 0) + "\n")


def write_state(folder, iteration, moment, others):
    """One ONNX file without nodes: initializers NAME, velocity.NAME (from the
    second iteration on), gradient.NAME, exact.NAME (the gradient in float64 on
    the same sides) and loss. Beside it the corners, and how far the gradients
    of other variants lie from the exact ones, on the same sides."""
    folder.mkdir(parents=True, exist_ok=True)
    named = dict(moment.values)
    named.update({"exact." + k: v for k, v in others[-1].items()})
    named.update({"velocity." + k: v for k, v in moment.velocity.items()})
    named.update({"gradient." + k: v for k, v in moment.gradients.items()})
    tensors = [numpy_helper.from_array(v.astype(np.float32), k) for k, v in named.items()]
    tensors.append(numpy_helper.from_array(np.array([moment.loss]), "loss"))
    model = helper.make_model(helper.make_graph([], "state", [], [], tensors), opset_imports=[helper.make_opsetid("", 13)])
    onnx.save(model, str(folder / f"state_{iteration}.onnx"))
    write_json(folder / f"corners_{iteration}.json", {"corners": moment.corners, "spread": spread(others)})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", metavar="FOLDER", type=pathlib.Path)
    parser.add_argument("--record", metavar="DIR", type=pathlib.Path, help="write what the test needs here")
    parser.add_argument("--states", metavar="DIR", type=pathlib.Path, help="write every iteration's state here")
    options = parser.parse_args()
    for folder in options.folders:
        corners, fixed, apart = {}, {}, {}

        def visit(iteration, moment):
            if iteration > 0 and not options.states:
                return
            others = [moment.gradients_of(folder, v, iteration) for v in VARIANTS]
            if iteration == 0:
                corners.update(moment.corners)
                apart.update(spread(others))
                fixed.update({v.name: significant(distance(o, others[-1])) for v, o in zip(VARIANTS, others)})
            if options.states:
                write_state(options.states / folder.name, iteration, moment, others)

        result = {"torch": torch.__version__, **compare(folder, visit), "same_sides_to_float64": fixed,
                  "calm": compare_calm(folder), "spread": apart, "corners": corners}
        show(folder, result)
        if options.record:
            write_json(options.record / (folder.name + ".json"), result)


if __name__ == "__main__":
    main()
