"""The networks of graft as plain PyTorch modules.

They follow the papers and the reference project's description, not graft's
graphs, so that an equal result proves the architecture too. Parameters are
called as in the reference's state dictionaries, with "encoder." and "decoder."
in front, and so are graft's initializers.

An encoder turns a picture (N,3,H,W) into a list of feature maps from fine to
coarse; a decoder turns these into log-probabilities (N,classes,h,w), main
output first. Dropout is left out: see Network.
"""

import torch
import torch.nn.functional as F
from torch import nn


def convolution(inputs, outputs, kernel, stride=1, dilation=1, groups=1, bias=False):
    return nn.Conv2d(inputs, outputs, kernel, stride, dilation * (kernel // 2), dilation, groups, bias)


def unit(inputs, outputs, kernel, stride=1):
    """Convolution, batch normalisation and ReLU."""
    return nn.Sequential(convolution(inputs, outputs, kernel, stride), norm(outputs), nn.ReLU())


def norm(channels):
    # The running statistics' share of a batch, but for HRNetV2's encoder.
    return nn.BatchNorm2d(channels, momentum=0.001)


def resize(x, like):
    return F.interpolate(x, like.shape[2:], mode="bilinear", align_corners=False)


def dilate(module, factor):
    """Keep the size where the layers of the module halve it, and spread their
    kernels so that they see as far as before. A kernel that had the stride
    works on the finer grid already and is spread by half the factor."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            strided = layer.stride == (2, 2)
            layer.stride = (1, 1)
            if layer.kernel_size == (3, 3):
                layer.dilation = layer.padding = (factor // 2 if strided else factor,) * 2


# --- residual networks -------------------------------------------------------

class Residual(nn.Module):
    """What two kinds of block share: the shortcut and the sum."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.relu = nn.ReLU()
        self.downsample = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(convolution(inputs, outputs, 1, stride), norm(outputs))

    def forward(self, x):
        return self.relu(self.deepen(x) + self.downsample(x))


class Basic(Residual):
    """Two 3x3 convolutions; it neither expands nor has groups."""

    def __init__(self, inputs, planes, stride=1, expansion=1, groups=1):
        super().__init__(inputs, planes, stride)
        self.conv1, self.bn1 = convolution(inputs, planes, 3, stride), norm(planes)
        self.conv2, self.bn2 = convolution(planes, planes, 3), norm(planes)
        self.relu1 = nn.ReLU()

    def deepen(self, x):
        return self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))


class Bottleneck(Residual):
    """Narrow, 3x3, widen."""

    def __init__(self, inputs, planes, stride=1, expansion=4, groups=1):
        super().__init__(inputs, planes * expansion, stride)
        self.conv1, self.bn1 = convolution(inputs, planes, 1), norm(planes)
        self.conv2, self.bn2 = convolution(planes, planes, 3, stride, groups=groups), norm(planes)
        self.conv3, self.bn3 = convolution(planes, planes * expansion, 1), norm(planes * expansion)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()

    def deepen(self, x):
        x = self.relu1(self.bn1(self.conv1(x)))
        x = self.relu2(self.bn2(self.conv2(x)))
        return self.bn3(self.conv3(x))


class ResNet(nn.Module):
    def __init__(self, block, counts, planes=64, expansion=1, groups=1, dilated=False):
        super().__init__()
        for i, (inputs, outputs) in enumerate([(3, 64), (64, 64), (64, 128)], 1):
            setattr(self, f"conv{i}", convolution(inputs, outputs, 3, 2 if i == 1 else 1))
            setattr(self, f"bn{i}", norm(outputs))
            setattr(self, f"relu{i}", nn.ReLU())
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.channels, width = [], 128
        for i, count in enumerate(counts):
            blocks = []
            for j in range(count):
                stride = 2 if i > 0 and j == 0 else 1
                blocks.append(block(width, planes << i, stride, expansion=expansion, groups=groups))
                width = (planes << i) * expansion
            setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))
            self.channels.append(width)
        if dilated:
            dilate(self.layer3, 2)
            dilate(self.layer4, 4)

    def forward(self, x):
        x = self.relu1(self.bn1(self.conv1(x)))
        x = self.relu2(self.bn2(self.conv2(x)))
        x = self.relu3(self.bn3(self.conv3(x)))
        x = self.maxpool(x)
        taps = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            taps.append(x)
        return taps


# --- MobileNetV2 -------------------------------------------------------------

class Inverted(nn.Module):
    """Widen, convolve every channel by itself, narrow; no activation behind."""

    def __init__(self, inputs, outputs, stride, expand):
        super().__init__()
        wide = inputs * expand
        layers = [] if expand == 1 else [convolution(inputs, wide, 1), norm(wide), nn.ReLU6()]
        layers += [convolution(wide, wide, 3, stride, groups=wide), norm(wide), nn.ReLU6()]
        layers += [convolution(wide, outputs, 1), norm(outputs)]
        self.conv = nn.Sequential(*layers)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.conv(x) if self.shortcut else self.conv(x)


class MobileNetV2Dilated(nn.Module):
    """Up to the last inverted residual; what would go beyond stride 8 stays
    there."""

    # expand, channels, blocks, stride, dilation
    ROWS = [(1, 16, 1, 1, 1), (6, 24, 2, 2, 1), (6, 32, 3, 2, 1), (6, 64, 4, 2, 2), (6, 96, 3, 1, 2),
            (6, 160, 3, 2, 4), (6, 320, 1, 1, 4)]
    TAPS = [2, 4, 14, 17]

    def __init__(self):
        super().__init__()
        layers = [nn.Sequential(convolution(3, 32, 3, 2), norm(32), nn.ReLU6())]
        width, widths = 32, [32]
        for expand, channels, blocks, stride, factor in self.ROWS:
            for j in range(blocks):
                # A shortcut is decided by the stride before dilation.
                layer = Inverted(width, channels, stride if j == 0 else 1, expand)
                if factor > 1:
                    dilate(layer, factor)
                layers.append(layer)
                width = channels
                widths.append(width)
        self.features = nn.Sequential(*layers)
        self.channels = [widths[i] for i in self.TAPS]

    def forward(self, x):
        taps = []
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in self.TAPS:
                taps.append(x)
        return taps


# --- HRNetV2 -----------------------------------------------------------------

class Up(nn.Module):
    """A coarser branch on its way to a finer one, which it is resized like."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.add_module("0", convolution(inputs, outputs, 1))
        self.add_module("1", norm(outputs))

    def forward(self, x, like):
        conv, bn = self.children()
        return resize(bn(conv(x)), like)


def down(inputs, outputs, steps):
    """A finer branch on its way to a coarser one: its width changes with the
    last step, which has no activation."""
    layers = [unit(inputs, inputs, 3, 2) for _ in range(steps - 1)]
    return nn.Sequential(*layers, nn.Sequential(convolution(inputs, outputs, 3, 2), norm(outputs)))


class Exchange(nn.Module):
    """Four blocks deepen every branch; then each becomes the sum of all."""

    def __init__(self, widths):
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(*(Basic(w, w) for _ in range(4))) for w in widths)
        self.fuse_layers = nn.ModuleList()
        for i, to in enumerate(widths):
            ways = nn.ModuleList()
            for j, start in enumerate(widths):
                ways.append(Up(start, to) if j > i else nn.Identity() if j == i else down(start, to, i - j))
            self.fuse_layers.append(ways)
        self.relus = nn.ModuleList(nn.ReLU() for _ in widths)

    def forward(self, branches):
        deep = [branch(x) for branch, x in zip(self.branches, branches)]
        fused = []
        for i, (ways, relu) in enumerate(zip(self.fuse_layers, self.relus)):
            parts = [way(x, deep[i]) if j > i else way(x) for j, (way, x) in enumerate(zip(ways, deep))]
            fused.append(relu(sum(parts[1:], parts[0])))
        return fused


class HRNetV2(nn.Module):
    """W48. The taps are the stages, each with its branches joined at the finest
    resolution; the last of them is the reference's only one."""

    STAGES = [(1, [48, 96]), (4, [48, 96, 192]), (3, [48, 96, 192, 384])]

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1, self.relu1 = convolution(3, 64, 3, 2), norm(64), nn.ReLU()
        self.conv2, self.bn2, self.relu2 = convolution(64, 64, 3, 2), norm(64), nn.ReLU()
        self.layer1 = nn.Sequential(*(Bottleneck(64 if j == 0 else 256, 64) for j in range(4)))
        before = [256]
        self.channels = [256]
        for i, (modules, widths) in enumerate(self.STAGES, 1):
            setattr(self, f"transition{i}", self.transition(before, widths))
            setattr(self, f"stage{i + 1}", nn.Sequential(*(Exchange(widths) for _ in range(modules))))
            before = widths
            self.channels.append(sum(widths))
        for layer in self.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = 0.1

    @staticmethod
    def transition(before, widths):
        """Branches that are there go on, at another width behind a convolution;
        the new one comes from the coarsest."""
        ways = nn.ModuleList(nn.Identity() if b == w else unit(b, w, 3) for b, w in zip(before, widths))
        ways.append(nn.Sequential(unit(before[-1], widths[-1], 3, 2)))
        return ways

    def forward(self, x):
        x = self.relu1(self.bn1(self.conv1(x)))
        x = self.relu2(self.bn2(self.conv2(x)))
        x = self.layer1(x)
        branches, taps = [x], [x]
        for i in range(1, 4):
            *kept, new = getattr(self, f"transition{i}")
            branches = [way(b) for way, b in zip(kept, branches)] + [new(branches[-1])]
            branches = getattr(self, f"stage{i + 1}")(branches)
            taps.append(torch.cat([branches[0]] + [resize(b, branches[0]) for b in branches[1:]], 1))
        return taps


# --- decoders ----------------------------------------------------------------

PYRAMID = (1, 2, 3, 6)  # cells a side
PYRAMID_WIDTH = 512


class C1(nn.Module):
    """One 3x3 convolution and a classifier; with deep supervision the same
    behind the tap before the last."""

    def __init__(self, channels, classes, deep=False):
        super().__init__()
        width = channels[-1] // 4
        self.cbr = unit(channels[-1], width, 3)
        self.conv_last = convolution(width, classes, 1, bias=True)
        if deep:
            self.cbr_deepsup = unit(channels[-2], width, 3)
            self.conv_last_deepsup = convolution(width, classes, 1, bias=True)
        self.deep = deep

    def forward(self, taps):
        out = [self.conv_last(self.cbr(taps[-1]))]
        if self.deep:
            out.append(self.conv_last_deepsup(self.cbr_deepsup(taps[-2])))
        return [F.log_softmax(x, 1) for x in out]


class PPM(nn.Module):
    """Pyramid pooling; the coarse grids are resized behind their convolution."""

    def __init__(self, channels, classes, deep=False):
        super().__init__()
        last, width = channels[-1], PYRAMID_WIDTH
        self.ppm = nn.ModuleList(nn.Sequential(nn.AdaptiveAvgPool2d(cells), *unit(last, width, 1)) for cells in PYRAMID)
        self.conv_last = nn.Sequential(
            *unit(last + len(PYRAMID) * width, width, 3), nn.Identity(), convolution(width, classes, 1, bias=True))
        if deep:
            self.cbr_deepsup = unit(channels[-2], last // 4, 3)
            self.conv_last_deepsup = convolution(last // 4, classes, 1, bias=True)
        self.deep = deep

    def forward(self, taps):
        x = taps[-1]
        out = [self.conv_last(torch.cat([x] + [resize(level(x), x) for level in self.ppm], 1))]
        if self.deep:
            out.append(self.conv_last_deepsup(self.cbr_deepsup(taps[-2])))
        return [F.log_softmax(y, 1) for y in out]


class UPerNet(nn.Module):
    """A feature pyramid topped by pyramid pooling, whose coarse grids are
    resized before their convolution. The output is at the first tap."""

    def __init__(self, channels, classes, width):
        super().__init__()
        last = channels[-1]
        self.ppm_pooling = nn.ModuleList(nn.AdaptiveAvgPool2d(cells) for cells in PYRAMID)
        self.ppm_conv = nn.ModuleList(unit(last, PYRAMID_WIDTH, 1) for _ in PYRAMID)
        self.ppm_last_conv = unit(last + len(PYRAMID) * PYRAMID_WIDTH, width, 3)
        self.fpn_in = nn.ModuleList(unit(c, width, 1) for c in channels[:-1])
        self.fpn_out = nn.ModuleList(nn.Sequential(unit(width, width, 3)) for _ in channels[:-1])
        self.conv_last = nn.Sequential(
            unit(len(channels) * width, width, 3), convolution(width, classes, 1, bias=True))

    def forward(self, taps):
        x = taps[-1]
        pooled = [conv(resize(pool(x), x)) for pool, conv in zip(self.ppm_pooling, self.ppm_conv)]
        x = self.ppm_last_conv(torch.cat([x] + pooled, 1))
        levels = [x]
        for tap, inward, outward in list(zip(taps, self.fpn_in, self.fpn_out))[::-1]:
            side = inward(tap)
            x = side + resize(x, side)
            levels.insert(0, outward(x))
        joined = torch.cat([levels[0]] + [resize(y, levels[0]) for y in levels[1:]], 1)
        return [F.log_softmax(self.conv_last(joined), 1)]


# --- networks ----------------------------------------------------------------

RESNETS = {
    "resnet18": (Basic, [2, 2, 2, 2], 1),
    "resnet50": (Bottleneck, [3, 4, 6, 3], 4),
    "resnet101": (Bottleneck, [3, 4, 23, 3], 4),
}
ENCODERS = {
    "mobilenetv2dilated": MobileNetV2Dilated,
    "resnext101": lambda: ResNet(Bottleneck, [3, 4, 23, 3], planes=128, expansion=2, groups=32),
    "hrnetv2": HRNetV2,
}
for _name, (_block, _counts, _expansion) in RESNETS.items():
    for _dilated in (False, True):
        ENCODERS[_name + "dilated" * _dilated] = (
            lambda b=_block, c=_counts, e=_expansion, d=_dilated: ResNet(b, c, expansion=e, dilated=d))
DECODERS = {
    "c1": C1,
    "c1_deepsup": lambda channels, classes: C1(channels, classes, deep=True),
    "ppm": PPM,
    "ppm_deepsup": lambda channels, classes: PPM(channels, classes, deep=True),
    "upernet": lambda channels, classes: UPerNet(channels, classes, 512),
    "upernet_lite": lambda channels, classes: UPerNet(channels, classes, 256),
}


class Network(nn.Module):
    """Encoder and decoder. Where the reference drops channels in training
    (PPM, with probability 0.1) there is nothing here: a comparison needs
    probability 0, which graft takes as attribute ratio of its ChannelDropout
    nodes."""

    def __init__(self, encoder, decoder, classes):
        super().__init__()
        self.encoder = ENCODERS[encoder]()
        self.decoder = DECODERS[decoder](self.encoder.channels, classes)

    def forward(self, image):
        return self.decoder(self.encoder(image))
