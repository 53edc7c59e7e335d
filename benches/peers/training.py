#!/usr/bin/env python3
"""A training step: echogrid beside PyTorch, the same networks on the same device in the same run.

    python3 benches/peers/training.py [--device cuda] [--out FILE.json]

Needs PyTorch and echogrid built. Both towers of 64 pairs, symmetric InfoNCE, clipped gradients, AdamW: the default encoder, and on CUDA a ResNet-18 at
128 px. PyTorch runs channels-last, in f32 and under automatic mixed precision with a scaled loss (f16 on CUDA; none on a processor, where
echogrid's mixed precision is a rounding for tests too). echogrid's figures are those of `echogrid bench jobs`.
"""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from common import echogrid_cases, median_time, parser, report, start

BATCH = 64


def unit(i, o, k=3, stride=1, relu=True):
    conv = nn.Conv2d(i, o, k, stride, k // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(o), *([nn.ReLU(inplace=True)] if relu else []))


class Block(nn.Module):
    def __init__(self, i, o, stride=1):
        super().__init__()
        self.body = nn.Sequential(unit(i, o, stride=stride), unit(o, o, relu=False))
        self.skip = nn.Identity() if i == o and stride == 1 else unit(i, o, 1, stride, relu=False)

    def forward(self, x):
        return F.relu(self.skip(x) + self.body(x))


class Small(nn.Module):
    """The default encoder: two strided units, a residual block, 8 x 8 squares of 16 values."""

    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(unit(4, 32, stride=2), unit(32, 32, stride=2), Block(32, 32), nn.Conv2d(32, 16, 1))

    def forward(self, x):
        y = self.trunk(x).float()
        y = F.normalize(F.avg_pool2d(y, y.shape[-1] // 8), dim=1)
        return F.normalize((y - y.mean((2, 3), keepdim=True)).flatten(1))


class Resnet18(nn.Module):
    """With a generalised mean and a linear layer at its end."""

    def __init__(self):
        super().__init__()
        layers = [unit(4, 64, 7, 2), nn.MaxPool2d(3, 2, 1)]
        for i, o in [(64, 64), (64, 128), (128, 256), (256, 512)]:
            layers += [Block(i, o, 1 if i == o else 2), Block(o, o)]
        self.trunk, self.fc, self.p = nn.Sequential(*layers), nn.Linear(512, 256), nn.Parameter(torch.tensor(3.0))

    def forward(self, x):
        y = self.trunk(x).float().clamp(min=1e-6).pow(self.p).mean((2, 3)).pow(1 / self.p)
        return F.normalize(self.fc(y).float())


def step(make, side, device, mixed):
    """A call that trains one step."""
    form = torch.channels_last
    towers = nn.ModuleList([make(), make()]).to(device).to(memory_format=form).train()
    temperature = nn.Parameter(torch.tensor(math.log(1 / 0.07), device=device))
    parameters = [*towers.parameters(), temperature]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4)
    scaler = torch.amp.GradScaler(enabled=mixed)
    images = [torch.randn(BATCH, 4, side, side, device=device).contiguous(memory_format=form) for _ in towers]
    labels = torch.arange(BATCH, device=device)

    def run():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.split(":")[0], dtype=torch.float16, enabled=mixed):
            a, b = (tower(x) for tower, x in zip(towers, images))
        logits = temperature.exp() * a @ b.T
        loss = (F.cross_entropy(logits, labels, label_smoothing=0.1) + F.cross_entropy(logits.T, labels, label_smoothing=0.1)) / 2
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(parameters, 5.0)
        scaler.step(optimizer)
        scaler.update()

    return run


def main():
    args = parser(__doc__, repeats=7).parse_args()
    ours, about = echogrid_cases(args, "jobs")
    result = start(args) | about | {"cases": []}
    cuda = args.device.startswith("cuda")
    for name, make, side in [("", Small, 96)] + ([(", ResNet-18 at 128 px", Resnet18, 128)] if cuda else []):
        peers = {"torch": median_time(step(make, side, args.device, False), args)[0]}
        if cuda:
            peers["torch_amp"] = median_time(step(make, side, args.device, True), args)[0]
        mine = {"echogrid": ours[f"train: a step of {BATCH} pairs{name}"], "echogrid_mixed": ours[f"train: a step of {BATCH} pairs{name}, mixed"]}
        result["cases"].append({
            "name": f"a step of {BATCH} pairs{name}", **{f"{k}_s": v for k, v in (mine | peers).items()},
            "speed_over_torch": peers["torch"] / mine["echogrid"],
            **({"mixed_over_torch_amp": peers["torch_amp"] / mine["echogrid_mixed"]} if cuda else {}),
        })
    report(result, args)


if __name__ == "__main__":
    main()
