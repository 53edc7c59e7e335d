"""YOLOv3 on a residual trunk in PyTorch, parameters under echogrid's names, and its loss: for ships.py."""

import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from networks import conv, iou, trunk

PRIOR = 0.01


class Unit(nn.Module):
    def __init__(self, i, o, k, act):
        super().__init__()
        self.conv, self.bn, self.act = conv(i, o, k), nn.BatchNorm2d(o), act

    def forward(self, x):
        return self.act(self.bn(self.conv(x)))


class Head(nn.Module):
    """What one map passes before it says boxes; `coarser` are the channels of the joined features of the next coarser map."""

    def __init__(self, own, coarser, width, pairs, out, act):
        super().__init__()
        self.pairs, i = pairs, own
        if coarser:
            self.fit, i = Unit(coarser, width, 1, act), own + width
        for k in range(pairs):
            self.add_module(f"narrow{k}", Unit(i, width, 1, act))
            self.add_module(f"wide{k}", Unit(width, 2 * width, 3, act))
            i = 2 * width
        self.add_module(f"narrow{pairs}", Unit(i, width, 1, act))
        self.last, self.say = Unit(width, 2 * width, 3, act), nn.Conv2d(2 * width, out, 1)

    def forward(self, x, coarser):
        if coarser is not None:
            x = torch.cat([F.interpolate(self.fit(coarser), scale_factor=2), x], 1)
        for k in range(self.pairs):
            x = self.get_submodule(f"wide{k}")(self.get_submodule(f"narrow{k}")(x))
        x = self.get_submodule(f"narrow{self.pairs}")(x)
        return x, self.say(self.last(x))


class Yolo(nn.Module):
    """Parameters under echogrid's names."""

    def __init__(self, detector):
        super().__init__()
        head, self.classes = detector["head"], len(detector["classes"])
        self.box_weight, self.gamma, self.coordinates = head["box_weight"], head.get("focal_gamma", 0.0), head.get("box_loss") == "coordinates"
        (self.sar, act), widths, self.repeat = trunk(detector["architecture"]), head["widths"], detector.get("repeat_band")
        self.count = len(widths)
        self.anchors = torch.tensor(head["anchors"]).view(self.count, -1, 2)
        out = self.anchors.shape[1] * (5 + self.classes)
        for k, width in enumerate(widths):
            coarser = widths[k + 1] if k + 1 < self.count else 0
            self.add_module(f"head{k}", Head(self.sar.widths[k - self.count], coarser, width, head["pairs"], out, act))
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, nonlinearity="relu")
                if m.bias is not None:
                    nn.init.zeros_(m.bias)
                    m.bias.data.view(-1, 5 + self.classes)[:, 4] = math.log(PRIOR / (1 - PRIOR))

    def forward(self, x):
        """Rows [N, H, W, anchors, 5 + classes] of each map, the finest first."""
        maps, said, coarser = self.sar.maps(x[:, [0, 0, 0, 3]] if self.repeat else x)[-self.count :], [], None
        for k in reversed(range(self.count)):
            coarser, y = self.get_submodule(f"head{k}")(maps[k], coarser)
            n, _, h, w = y.shape
            said.append(y.float().view(n, -1, 5 + self.classes, h, w).permute(0, 3, 4, 1, 2))
        return said[::-1]

    def boxes(self, rows, k, stride):
        """Corners that rows of map k say, pixels of the input."""
        h, w = rows.shape[1:3]
        cell = torch.stack(torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")[::-1], -1)[None, :, :, None]
        middle = (rows[..., :2].sigmoid() + cell) * stride
        side = rows[..., 2:4].clamp(max=math.log(1000 / 16)).exp() * self.anchors[k]
        return torch.cat([middle - side / 2, middle + side / 2], -1)


def giou(a, b):
    """Generalised intersection over union of rows of corners."""
    area = lambda t: (t[:, 2:] - t[:, :2]).prod(1)
    both = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(1)
    union = area(a) + area(b) - both
    hull = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(1)
    return both / union - (hull - union) / hull


def teach(shown, net, grids, side, c):
    """Of a batch's boxes (corners, class or -1): for each map targets and weights of the numbers, and the rows that say a box with the boxes."""
    anchors, classes, taught = net.anchors.numpy(), net.classes, []
    for k, g in enumerate(grids):
        shape = (len(shown), g, g, anchors.shape[1], 5 + classes)
        weights = np.zeros(shape, np.float32)
        weights[..., 4] = 1
        taught.append((np.zeros(shape, np.float32), weights, {}))
    for n, (boxes, labels) in enumerate(shown):
        if not len(boxes):
            continue
        for k, g in enumerate(grids):
            middle = (np.stack(np.meshgrid(np.arange(g), np.arange(g)), -1) + 0.5) * (side / g)
            placed = np.concatenate([middle[:, :, None] - anchors[k] / 2, middle[:, :, None] + anchors[k] / 2], -1).reshape(-1, 4)
            much = (iou(placed, boxes) >= c["ignore_iou"]).any(1).reshape(g, g, -1)
            for b in boxes[labels < 0]:
                much |= ((middle >= b[:2]) & (middle <= b[2:])).all(-1)[..., None]
            taught[k][1][n, ..., 4][much] = 0
        sides, flat = boxes[:, 2:] - boxes[:, :2], anchors.reshape(-1, 2)
        both = np.minimum(sides[:, None], flat).prod(-1)
        fits, wanted = both / (sides.prod(-1)[:, None] + flat.prod(-1) - both), []
        for i in np.flatnonzero(labels >= 0):
            best = fits[i].argmax()
            wanted += [(-fits[i, a], i, a) for a in range(len(flat)) if a == best or fits[i, a] >= c["match_iou"]]
        for _, i, a in sorted(wanted):
            k, a = divmod(a, anchors.shape[1])
            middle = (boxes[i, :2] + boxes[i, 2:]) / 2 / (side / grids[k])
            x, y = cell = np.clip(middle.astype(int), 0, grids[k] - 1)
            targets, weights, said = taught[k]
            if (n, y, x, a) not in said:
                said[n, y, x, a] = boxes[i]
                targets[n, y, x, a, 4] = targets[n, y, x, a, 5 + labels[i]] = 1
                weights[n, y, x, a, 4:] = 1
                if net.coordinates:
                    targets[n, y, x, a, :2] = middle - cell
                    weights[n, y, x, a, :2] = net.box_weight * (2 - (sides[i] / side).prod())
    return taught


def xent(net, logits, targets):
    """Cross-entropies, of which those beyond doubt count less where the network says so."""
    terms, p = F.binary_cross_entropy_with_logits(logits, targets, reduction="none"), logits.sigmoid()
    return terms * (p * (1 - targets) + (1 - p) * targets) ** net.gamma if net.gamma else terms


def of_sides(net, rows, anchors, boxes, side):
    """Half the squared differences of the logarithms of the sides over the anchors', weighted."""
    sides = boxes[:, 2:] - boxes[:, :2]
    squares = (rows[:, 2:4] - (sides / anchors).log()).square().sum(1)
    return 0.5 * net.box_weight * ((2 - (sides / side).prod(1)) * squares).sum()


def loss_of(net, inputs, shown, c):
    """The loss of a batch: cross-entropy of what is asked, and of the boxes that are said generalised IoU or their sides."""
    side, rows = inputs.shape[-1], net(inputs)
    taught = teach(shown, net, [r.shape[1] for r in rows], side, c)
    count, total = max(sum(len(t[2]) for t in taught), 1), 0.0
    for k, (r, (targets, weights, said)) in enumerate(zip(rows, taught)):
        targets, weights = torch.from_numpy(targets), torch.from_numpy(weights)
        total = total + (xent(net, r, targets) * weights).sum()
        if said:
            at, boxes = torch.tensor(list(said)).unbind(1), torch.from_numpy(np.stack(list(said.values())))
            if net.coordinates:
                total = total + of_sides(net, r[at], net.anchors[k][at[3]], boxes, side)
            else:
                total = total + net.box_weight * (1 - giou(net.boxes(r, k, side / r.shape[1])[at], boxes)).sum()
    return total / count


def first_loss(net, t):
    """The loss of a step whose targets are written out: the inputs of echogrid's network by name."""
    side, rows = t["image"].shape[-1], net(t["image"])
    total = 0.0
    for k, r in enumerate(rows):
        flat = r.flatten(0, 3)
        targets, weights = (t[f"{name}{k}"].view(len(flat), -1) for name in ("targets", "weights"))
        total = total + (xent(net, flat, targets) * weights).sum()
        there = t[f"box weights{k}"] > 0
        picked, boxes, weights = t[f"said{k} rows"].long()[there], t[f"boxes{k}"][there], t[f"box weights{k}"][there]
        if net.coordinates:
            terms = 0.5 * (flat[picked, 2:4] - boxes[:, :2]).square().sum(1)
        else:
            terms = 1 - giou(net.boxes(r, k, side / r.shape[1]).flatten(0, 3)[picked], boxes)
        total = total + net.box_weight * (terms * weights).sum()
    return total / t["divisor"]
