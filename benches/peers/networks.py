"""What the networks of the training comparisons share: residual trunks under echogrid's names, the optimiser's course, echogrid's layout of weights."""

import math
import sys
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import load_file


def conv(i, o, k=3, stride=1, dilation=1):
    return nn.Conv2d(i, o, k, stride, dilation * (k - 1) // 2, dilation, bias=False)


class Block(nn.Module):
    def __init__(self, i, o, stride, dilation):
        super().__init__()
        self.conv1, self.bn1 = conv(i, o, stride=stride), nn.BatchNorm2d(o)
        self.conv2, self.bn2 = conv(o, o, dilation=dilation), nn.BatchNorm2d(o)
        self.downsample = nn.Identity() if i == o and stride == 1 else nn.Sequential(conv(i, o, 1, stride), nn.BatchNorm2d(o))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(self.downsample(x) + y)


class Trunk(nn.Module):
    """A residual trunk, or its first unit (`first`) or all that follows (`rest`) alone."""

    def __init__(self, architecture, last_stride=None, first=True, rest=True):
        super().__init__()
        widths, stages = [4, *architecture["stem"]], architecture["stages"]
        self.units, self.stages, width = [], [], widths[-1]
        for n, (i, o) in enumerate(zip(widths, widths[1:]), 1):
            if first if n == 1 else rest:
                self.add_module(f"conv{n}", conv(i, o, stride=2))
                self.add_module(f"bn{n}", nn.BatchNorm2d(o))
                self.units.append(n)
        for n, stage in enumerate(stages if rest else [], 1):
            stride, blocks = (n == len(stages) and last_stride) or stage["stride"], []
            for b in range(stage["blocks"]):
                blocks.append(Block(width, stage["channels"], 1 if b else stride, stage["dilation"]))
                width = stage["channels"]
            self.add_module(f"layer{n}", nn.Sequential(*blocks))
            self.stages.append(n)
        self.width, self.widths = width, [s["channels"] for s in stages]

    def unit(self, n, x):
        return F.relu(self.get_submodule(f"bn{n}")(self.get_submodule(f"conv{n}")(x)))

    def maps(self, x, units=None):
        """The feature map behind each stage."""
        for n in self.units if units is None else units:
            x = self.unit(n, x)
        maps = []
        for n in self.stages:
            x = self.get_submodule(f"layer{n}")(x)
            maps.append(x)
        return maps or [x]


class ResNet(nn.Module):
    """torchvision's trunk, on four channels."""

    def __init__(self, name):
        super().__init__()
        import torchvision

        net = getattr(torchvision.models, name)()
        self.conv1, self.bn1, self.widths = nn.Conv2d(4, 64, 7, 2, 3, bias=False), net.bn1, []
        for n in range(1, 5):
            layer = getattr(net, f"layer{n}")
            self.add_module(f"layer{n}", layer)
            self.widths.append([m for m in layer.modules() if isinstance(m, nn.Conv2d) and m.kernel_size != (7, 7)][-1].out_channels)

    def maps(self, x):
        x, maps = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1), []
        for n in range(1, 5):
            x = self.get_submodule(f"layer{n}")(x)
            maps.append(x)
        return maps


class Darknet53(nn.Module):
    """Of Redmon and Farhadi, on four channels, parameters under echogrid's names."""

    BLOCKS = (1, 2, 8, 8, 4)

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1, self.widths, width = conv(4, 32), nn.BatchNorm2d(32), [], 32
        for n, count in enumerate(self.BLOCKS, 1):
            layer, o = nn.Module(), 2 * width
            layer.conv, layer.bn = conv(width, o, stride=2), nn.BatchNorm2d(o)
            for b in range(count):
                block = nn.Module()
                block.conv1, block.bn1, block.conv2, block.bn2 = conv(o, width, 1), nn.BatchNorm2d(width), conv(width, o), nn.BatchNorm2d(o)
                layer.add_module(str(b), block)
            self.add_module(f"layer{n}", layer)
            self.widths.append(o)
            width = o

    def maps(self, x):
        leaky = lambda t: F.leaky_relu(t, 0.1)
        x, maps = leaky(self.bn1(self.conv1(x))), []
        for n, count in enumerate(self.BLOCKS, 1):
            layer = self.get_submodule(f"layer{n}")
            x = leaky(layer.bn(layer.conv(x)))
            for b in range(count):
                block = layer.get_submodule(str(b))
                x = x + leaky(block.bn2(block.conv2(leaky(block.bn1(block.conv1(x))))))
            maps.append(x)
        return maps


def trunk(architecture):
    """A trunk, and the activation of what stands on it."""
    kind = architecture["kind"]
    if kind == "residual":
        return Trunk(architecture), F.relu
    return (Darknet53(), lambda t: F.leaky_relu(t, 0.1)) if kind == "darknet53" else (ResNet(kind), F.relu)


def iou(a, b):
    """Intersection over union of all pairs of corners, numpy."""
    both = np.clip(np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2]), 0, None).prod(-1)
    area = lambda t: (t[:, 2:] - t[:, :2]).prod(-1)
    return both / (area(a)[:, None] + area(b)[None] - both)


def to_echogrid(t):
    """A weight as echogrid lays it: a convolution's [KH * KW, CI, CO], a linear layer's [in, out]."""
    return t.permute(2, 3, 1, 0).flatten(0, 1) if t.ndim == 4 else t.T if t.ndim == 2 else t


def start_from(network, path, but=()):
    """Puts echogrid's values, which it wrote under the names of the network's own, in their places; but some, which a model does not keep."""
    given = load_file(path)
    wanted = {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked") and k not in but}
    if given.keys() != wanted.keys():
        sys.exit(f"{path}: of another network; it or this one lacks {', '.join(sorted(given.keys() ^ wanted.keys())[:4])}")
    for name, t in wanted.items():
        laid = t.permute(2, 3, 1, 0) if t.ndim == 4 else t.T if t.ndim == 2 else t
        laid.copy_(given[name].view(laid.shape))


def learning_rate(train, step):
    """Of a step, from 0: a linear rise, the highest for a while, then half a cosine."""
    total = train["epochs"] * train["steps"]
    warm, t = max(train["warmup"] * total, 1), step + 1
    held = warm + train.get("hold", 0) * total
    factor = t / warm if t < warm else 0.5 * (1 + math.cos(math.pi * min(max((t - held) / max(total - held, 1), 0), 1)))
    return train["optimizer"]["lr"] * factor


class Descent:
    """echogrid's AdamW: weights decay; biases, normalisation, exponents and temperatures do not."""

    def __init__(self, network, train):
        o, self.train, self.parameters = train["optimizer"], train, list(network.parameters())
        groups = [
            {"params": [p for p in self.parameters if (p.ndim > 1) == decays], "weight_decay": o["weight_decay"] * decays} for decays in (True, False)
        ]
        self.optimizer = torch.optim.AdamW(groups, betas=(o["beta1"], o["beta2"]), eps=1e-8)

    def step(self, loss, number):
        """Goes one step, from 0, down the gradient of a loss."""
        self.optimizer.zero_grad()
        loss.backward()
        if not nn.utils.clip_grad_norm_(self.parameters, self.train["optimizer"]["clip"]).isfinite():
            sys.exit(f"the gradient of step {number + 1} is not finite")
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.train, number)
        self.optimizer.step()

    def over(self, batches, loss_of, limit=0):
        """The loss of each batch's step, and the seconds that the steps took without the reading."""
        losses, seconds = [], 0.0
        for number, batch in enumerate(batches):
            begin = time.perf_counter()
            loss = loss_of(*batch)
            self.step(loss, number)
            losses.append(loss.item())
            seconds += time.perf_counter() - begin
            if len(losses) % 10 == 0:
                print(f"step {len(losses)}: loss {losses[-1]:.4f}, {len(losses) / seconds:.2f} steps/s", file=sys.stderr)
            if len(losses) == limit:
                break
        return losses, seconds
