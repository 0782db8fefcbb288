#!/usr/bin/env python3
"""Train a model of graft in PyTorch, as graft trains it.

    learn.py --cfg camvid.yaml --out run.json MODEL.onnx [KEY VALUE ...]

reads the configuration of `graft train`, replaces the keys that are named, and
trains the ONNX file on the same pictures in the same order: every batch, flip
and size is drawn as graft draws them. Decoding and resizing are Pillow's,
operators, gradients, SGD and loss PyTorch's. Evaluation is the reference
project's: every picture at the sizes of DATASET.imgSizes, log-probabilities
stretched to the picture, softmax, the mean of the sizes, mean IoU with classes
that occur nowhere as 0.

Written are losses, evaluations and seconds as JSON, and with --save the trained
model, which `graft eval --model` measures.

Only what the comparison needs is known: SGD, the poly schedule, the reference's
loss, flips. A key that asks for more is refused.

Needs PyTorch, NumPy, Pillow, PyYAML and the onnx package.
"""

import argparse
import ast
import json
import pathlib
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from PIL import Image

import peer  # before anything that loads Python's own trace
import onnx
from onnx import numpy_helper

# --- configuration ------------------------------------------------------------

DEFAULTS = {
    "DATASET": {"imgMaxSize": 1000, "padding_constant": 8, "segm_downsampling_rate": 8, "random_flip": True,
                "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
    "TRAIN": {"lr_pow": 0.9, "beta1": 0.9, "weight_decay": 1e-4, "deep_sup_scale": 0.4, "fix_bn": False,
              "bn_momentum": 0.001, "seed": 304, "eval_epochs": 1, "optim": "SGD"},
}
# Keys that say where and how fast, not what; or of another encoder.
IDLE = {"DATASET": {"classes", "cache_mb"}, "TRAIN": {"workers", "disp_iter"}}
READ = {
    "DATASET": {"root_dataset", "list_train", "list_val", "num_class", "imgSizes"},
    "TRAIN": {"batch_size_per_gpu", "num_epoch", "epoch_iters", "lr_encoder", "lr_decoder"},
}


def value(text):
    """A value of the configuration; tuples are text to YAML."""
    try:
        return ast.literal_eval(text) if isinstance(text, str) else text
    except (ValueError, SyntaxError):
        return text


def configuration(path, overrides):
    cfg = {section: dict(keys) for section, keys in DEFAULTS.items()}
    given = [(section, key, v) for section, keys in yaml.safe_load(path.read_text()).items() if isinstance(keys, dict)
             for key, v in keys.items()]
    if len(overrides) % 2:
        raise SystemExit("overrides are pairs of KEY VALUE")
    given += [(*k.split(".", 1), v) for k, v in zip(overrides[::2], overrides[1::2])]
    for section, key, v in given:
        if section not in cfg or key in IDLE[section]:
            continue
        if key not in DEFAULTS[section] and key not in READ[section]:
            raise SystemExit(f"{section}.{key} is not known here")
        v = value(v)
        cfg[section][key] = float(v) if isinstance(v, str) and isinstance(DEFAULTS[section].get(key), float) else v
    t = cfg["TRAIN"]
    if t["optim"] != "SGD" or t["fix_bn"]:
        raise SystemExit("only SGD without fix_bn is known here")
    return cfg


# --- the order of the pictures ----------------------------------------------------

MASK = (1 << 64) - 1


def mix(x):
    """The finaliser of SplitMix64."""
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & MASK
    return x ^ x >> 31


class Generator:
    """PCG-DXSM, as Go's math/rand/v2 has it, for one use of random numbers."""

    def __init__(self, seed, stream, index):
        self.state = mix(seed ^ mix(stream)) << 64 | mix((index + mix(stream)) & MASK)

    def below(self, n):
        self.state = (self.state * 0x2360ED051FC65DA44385DF649FCCF645 + 0x5851F42D4C957F2D14057B7EF767814F) & (1 << 128) - 1
        high, low = self.state >> 64, self.state & MASK
        high = ((high ^ high >> 32) * 0xDA942042E4DD58B5) & MASK
        high = ((high ^ high >> 48) * (low | 1)) & MASK
        return high * n >> 64


SHUFFLE, DRAW = 1, 2  # streams


def draws(records, size, short_sides, flip, seed):
    """Endless batches: (record, mirrored) pairs and a short side. A batch leaves
    as soon as its orientation's queue is full."""
    queues, at, iteration = {True: [], False: []}, 0, 0
    while True:
        order, g = list(range(len(records))), Generator(seed, SHUFFLE, at)
        for i in range(len(order) - 1, 0, -1):
            j = g.below(i + 1)
            order[i], order[j] = order[j], order[i]
        at += 1
        for i in order:
            queue = queues[records[i]["height"] > records[i]["width"]]
            queue.append(i)
            if len(queue) == size:
                g = Generator(seed, DRAW, iteration)
                short = short_sides[g.below(len(short_sides))]
                yield [(k, g.below(2) == 1 and flip) for k in queue], short
                queue.clear()
                iteration += 1


# --- pictures ------------------------------------------------------------------------

class Pictures:
    """Pictures and masks of an odgt list, decoded once."""

    def __init__(self, dataset, split):
        self.dataset, self.root = dataset, pathlib.Path(dataset["root_dataset"])
        self.records = [json.loads(line) for line in pathlib.Path(dataset[f"list_{split}"]).read_text().splitlines() if line]
        self.known = {}

    def __getitem__(self, i):
        if i not in self.known:
            r = self.records[i]
            self.known[i] = (Image.open(self.root / r["fpath_img"]).convert("RGB"), Image.open(self.root / r["fpath_segm"]))
            for picture in self.known[i]:
                picture.load()
        return self.known[i]

    def scaled(self, i, short):
        r = self.records[i]
        width, height = r["width"], r["height"]
        scale = min(short / min(width, height), self.dataset["imgMaxSize"] / max(width, height))
        return int(width * scale), int(height * scale)

    def padded(self, n):
        m = self.dataset["padding_constant"]
        return (n + m - 1) // m * m

    def normalised(self, picture):
        """(3,H,W)"""
        mean, std = (np.array(self.dataset[k], np.float32) for k in ("mean", "std"))
        x = (np.asarray(picture, np.float32) / np.float32(255) - mean) / std
        return x.transpose(2, 0, 1)

    def batch(self, draw):
        chosen, short = draw
        rate = self.dataset["segm_downsampling_rate"]
        sizes = [self.scaled(i, short) for i, _ in chosen]
        w, h = (self.padded(max(s[axis] for s in sizes)) for axis in (0, 1))
        images = np.zeros((len(chosen), 3, h, w), np.float32)
        labels = np.full((len(chosen), h // rate, w // rate), -1, np.int64)
        for k, ((i, mirrored), size) in enumerate(zip(chosen, sizes)):
            image, mask = self[i]
            if mirrored:
                image, mask = (p.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for p in (image, mask))
            image, mask = image.resize(size, Image.Resampling.BILINEAR), mask.resize(size, Image.Resampling.NEAREST)
            images[k, :, :size[1], :size[0]] = self.normalised(image)
            # Unlabelled up to a multiple of the rate, then every rate-th pixel.
            whole = Image.new("L", tuple((s + rate - 1) // rate * rate for s in size), 0)
            whole.paste(mask)
            small = np.asarray(whole.resize(tuple(s // rate for s in whole.size), Image.Resampling.NEAREST), np.int64) - 1
            labels[k, :small.shape[0], :small.shape[1]] = small
        return torch.from_numpy(images), torch.from_numpy(labels)

    def scales(self, i):
        """The picture at every size of an evaluation, (1,3,H,W)."""
        for short in self.dataset["imgSizes"]:
            size = tuple(self.padded(s) for s in self.scaled(i, short))
            yield torch.from_numpy(self.normalised(self[i][0].resize(size, Image.Resampling.BILINEAR))[None].copy())


# --- the run -------------------------------------------------------------------------

def evaluate(network, val, classes):
    """IoU of every class, and pixel accuracy."""
    counts = np.zeros((classes, classes), np.int64)
    with torch.inference_mode():
        for i, record in enumerate(val.records):
            truth = np.asarray(val[i][1], np.int64) - 1
            mean = sum(F.softmax(F.interpolate(network.run(peer.layout(x, True), False)["logprob"], truth.shape,
                                               mode="bilinear", align_corners=False), 1) for x in val.scales(i))
            guess = mean[0].argmax(0).numpy()
            valid = truth >= 0
            counts += np.bincount(truth[valid] * classes + guess[valid], minlength=classes * classes).reshape(classes, classes)
    right = np.diag(counts)
    return right / (counts.sum(0) + counts.sum(1) - right + 1e-10), right.sum() / counts.sum()


def train(network, cfg, options):
    t, d = cfg["TRAIN"], cfg["DATASET"]
    for operator, attributes, *_ in network.steps:
        if operator is peer.OPERATORS["BatchNormalization"]:
            attributes["momentum"] = 1 - t["bn_momentum"]
    groups = [{"params": [w for k, w in network.weights.items() if k.startswith(part + ".") and (k in network.decayed) == decays],
               "weight_decay": t["weight_decay"] if decays else 0, "part": part}
              for part in ("encoder", "decoder") for decays in (True, False)]
    if sum(len(g["params"]) for g in groups) != len(network.weights):
        raise SystemExit("a parameter is neither encoder.* nor decoder.*")
    optimizer = torch.optim.SGD([g for g in groups if g["params"]], lr=0, momentum=t["beta1"])
    pictures, val = Pictures(d, "train"), Pictures(d, "val")
    order = draws(pictures.records, t["batch_size_per_gpu"], d["imgSizes"], d["random_flip"], t["seed"])
    total = t["num_epoch"] * t["epoch_iters"]
    result = {"losses": [], "seconds": [], "evaluations": []}
    for i in range(total):
        image, label = pictures.batch(next(order))
        begin = time.perf_counter()
        for g in optimizer.param_groups:
            g["lr"] = t["lr_" + g["part"]] * (1 - i / total) ** t["lr_pow"]
        optimizer.zero_grad()
        out = network.run(peer.layout(image, True), True)
        loss = F.nll_loss(out["logprob"], label, ignore_index=-1)
        if "logprob_deepsup" in out:
            loss = loss + t["deep_sup_scale"] * F.nll_loss(out["logprob_deepsup"], label, ignore_index=-1)
        loss.backward()
        optimizer.step()
        result["losses"].append(loss.item())
        result["seconds"].append(time.perf_counter() - begin)
        done, epoch = i + 1, (i + 1) // t["epoch_iters"]
        if done == total or done % t["epoch_iters"] == 0 and t["eval_epochs"] and epoch % t["eval_epochs"] == 0:
            ious, accuracy = evaluate(network, val, d["num_class"])
            result["evaluations"].append({"iteration": done, "mean_iou": ious.mean(), "accuracy": accuracy, "ious": ious.tolist()})
            print(f"{done} of {total}: loss {np.mean(result['losses'][-t['epoch_iters']:]):.4f}, "
                  f"mIoU {100 * ious.mean():.2f} %, pixel accuracy {100 * accuracy:.2f} %", file=sys.stderr, flush=True)
    return result


def save(network, source, target):
    model = onnx.load(source)
    values = {**network.weights, **network.statistics}
    for t in model.graph.initializer:
        if t.name in values:
            t.CopyFrom(numpy_helper.from_array(values[t.name].detach().contiguous().numpy(), t.name))
    onnx.save(model, target)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("overrides", nargs="*", metavar="KEY VALUE")
    parser.add_argument("--cfg", required=True, type=pathlib.Path)
    parser.add_argument("--out", required=True, type=pathlib.Path, help="file for the result")
    parser.add_argument("--save", help="file for the trained model")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    cfg = configuration(options.cfg, options.overrides)
    torch.set_num_threads(options.threads)
    network = peer.Network(options.model, channels_last=True)
    result = train(network, cfg, options)
    if options.save:
        save(network, options.model, options.save)
    options.out.write_text(json.dumps({"program": f"PyTorch {torch.__version__}", "configuration": cfg, **result}) + "\n")


if __name__ == "__main__":
    main()
