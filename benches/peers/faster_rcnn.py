"""Faster R-CNN on a residual trunk with a feature pyramid in PyTorch, parameters under echogrid's names, and its loss: for ships.py."""

import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torchvision.ops import batched_nms, roi_align

from networks import iou, trunk

COVER = 0.5
BETA = 1 / 9
DEVIATIONS = torch.tensor([0.1, 0.1, 0.2, 0.2])
GROWTH = math.log(1000 / 16)


class Level(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.lateral, self.smooth = nn.Conv2d(i, o, 1), nn.Conv2d(o, o, 3, padding=1)


class Proposals(nn.Module):
    """What the anchors of a map say: logits [N, H * W * anchors] and differences [N, H * W * anchors, 4]."""

    def __init__(self, width, anchors):
        super().__init__()
        self.conv, self.there, self.boxes = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, anchors, 1), nn.Conv2d(width, 4 * anchors, 1)

    def forward(self, x):
        y, n = F.relu(self.conv(x)), len(x)
        there, boxes = (m(y).float().permute(0, 2, 3, 1) for m in (self.there, self.boxes))
        return there.reshape(n, -1), boxes.reshape(n, -1, 4)


class Regions(nn.Module):
    def __init__(self, features, hidden, classes):
        super().__init__()
        self.hidden0, self.hidden1 = nn.Linear(features, hidden), nn.Linear(hidden, hidden)
        self.classes, self.boxes = nn.Linear(hidden, 1 + classes), nn.Linear(hidden, 4 * classes)

    def forward(self, x):
        # echogrid's features lie channel by channel within a bin.
        y = F.relu(self.hidden1(F.relu(self.hidden0(x.permute(0, 2, 3, 1).flatten(1)))))
        return self.classes(y).float(), self.boxes(y).float().view(len(x), -1, 4)


class FasterRcnn(nn.Module):
    def __init__(self, detector):
        super().__init__()
        self.head, self.count = detector["head"], len(detector["classes"])
        h, self.repeat = self.head, detector.get("repeat_band")
        self.sar, _ = trunk(detector["architecture"])
        for k in range(h["maps"]):
            self.add_module(f"pyramid{k}", Level(self.sar.widths[k - h["maps"]], h["width"]))
        self.levels = h["maps"] + h["pooled"]
        self.anchors = np.array(h["anchors"], np.float32).reshape(self.levels, -1, 2)
        self.proposals = Proposals(h["width"], self.anchors.shape[1])
        self.regions = Regions(h["bins"] ** 2 * h["width"], h["hidden"], self.count)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, nonlinearity="relu")
            if isinstance(m, nn.Linear):
                nn.init.normal_(m.weight, std=m.in_features**-0.5)
            if isinstance(m, (nn.Conv2d, nn.Linear)) and m.bias is not None:
                nn.init.zeros_(m.bias)
        for m in (self.proposals.conv, self.proposals.there, self.proposals.boxes, self.regions.classes, self.regions.boxes):
            nn.init.normal_(m.weight, std=0.01)

    def pyramid(self, x):
        """The maps, the finest first."""
        maps, coarser, own = self.sar.maps(x[:, [0, 0, 0, 3]] if self.repeat else x)[-self.head["maps"] :], None, []
        for k in reversed(range(len(maps))):
            level = self.get_submodule(f"pyramid{k}")
            y = level.lateral(maps[k])
            coarser = y if coarser is None else y + F.interpolate(coarser, scale_factor=2)
            own.append(level.smooth(coarser))
        own = own[::-1]
        return own + ([F.max_pool2d(own[-1], 1, 2)] if self.head["pooled"] else [])

    def boxes_of(self, maps, side):
        """The anchors of each map, corners."""
        all_of = []
        for sizes, m in zip(self.anchors, maps):
            g = m.shape[-1]
            middle = (np.stack(np.meshgrid(np.arange(g), np.arange(g)), -1)[:, :, None] + 0.5) * np.float32(side / g)
            all_of.append(np.concatenate([middle - sizes / 2, middle + sizes / 2], -1).reshape(-1, 4).astype(np.float32))
        return all_of

    @torch.no_grad()
    def propose(self, said, anchors, side):
        """The regions of each image, the surest first."""
        regions = []
        for n in range(len(said[0][0])):
            boxes, scores, levels = [], [], []
            for k, ((logits, deltas), a) in enumerate(zip(said, anchors)):
                top = logits[n].topk(min(self.head["candidates"], len(a))).indices
                boxes.append(decode(torch.from_numpy(a)[top], deltas[n, top]).clamp(0, side))
                scores.append(logits[n, top])
                levels.append(torch.full_like(top, k))
            boxes, scores, levels = torch.cat(boxes), torch.cat(scores), torch.cat(levels)
            there = ((boxes[:, 2:] - boxes[:, :2]).amin(1) >= 1e-3).nonzero()[:, 0]
            kept = there[batched_nms(boxes[there], scores[there], levels[there], self.head["proposal_iou"])]
            regions.append(boxes[kept[: self.head["proposals"]]])
        return regions

    def look(self, maps, regions, side):
        """What the features of regions (of each image some) say."""
        maps, boxes = maps[: self.head["maps"]], torch.cat(regions)
        image = torch.cat([torch.full((len(r), 1), float(n)) for n, r in enumerate(regions)])
        first = int(math.log2(side // maps[0].shape[-1]))
        size = (boxes[:, 2:] - boxes[:, :2]).prod(1).sqrt()
        level = (torch.floor(4 + torch.log2(size / 224) + 1e-6).clamp(first, first + len(maps) - 1) - first).long()
        bins = self.head["bins"]
        features = torch.zeros(len(boxes), self.head["width"], bins, bins)
        for k, m in enumerate(maps):
            of = (level == k).nonzero()[:, 0]
            if len(of):
                rois = torch.cat([image[of], boxes[of]], 1)
                features = features.index_put((of,), roi_align(m.float(), rois, bins, m.shape[-1] / side, 2, aligned=True))
        return self.regions(features)


def decode(anchors, deltas):
    side, middle = anchors[:, 2:] - anchors[:, :2], (anchors[:, 2:] + anchors[:, :2]) / 2
    middle, side = middle + deltas[:, :2] * side, side * deltas[:, 2:].clamp(max=GROWTH).exp()
    return torch.cat([middle - side / 2, middle + side / 2], 1)


def encode(anchors, targets):
    (sa, ma), (st, mt) = (((b[:, 2:] - b[:, :2]), (b[:, 2:] + b[:, :2]) / 2) for b in (anchors, targets))
    return torch.cat([(mt - ma) / sa, (st / sa).log()], 1)


def covered(boxes, ignored):
    """Which of the boxes lie in one to be ignored."""
    if not len(ignored):
        return np.zeros(len(boxes), bool)
    both = np.clip(np.minimum(boxes[:, None, 2:], ignored[None, :, 2:]) - np.maximum(boxes[:, None, :2], ignored[None, :, :2]), 0, None).prod(-1)
    return (both > COVER * (boxes[:, 2:] - boxes[:, :2]).prod(-1)[:, None]).any(1)


def draw(there, not_there, count, share):
    """`count` of both, up to a share of the first."""
    there = there[torch.randperm(len(there))[: max(int(count * share), 1)]]
    return there, not_there[torch.randperm(len(not_there))[: count - len(there)]]


def assign(anchors, boxes, ignored, low, high):
    """Of each anchor its label (1 something, 0 nothing, -1 neither) and the number of its box."""
    if not len(boxes):
        return np.where(covered(anchors, ignored), -1, 0), np.zeros(len(anchors), int)
    overlap = iou(anchors, boxes)
    best = overlap.max(1)
    labels = np.where(best < low, 0, -1)
    labels[(labels == 0) & covered(anchors, ignored)] = -1
    labels[(best >= high) | ((overlap == overlap.max(0)) & (overlap > 0)).any(1)] = 1
    return labels, overlap.argmax(1)


def loss_of(net, inputs, shown, c):
    """The loss of a batch: of anchors and regions drawn at random, cross-entropy and smooth distance of boxes."""
    side, s = inputs.shape[-1], c["sampling"]
    maps = net.pyramid(inputs)
    said = [net.proposals(m) for m in maps]
    anchors = net.boxes_of(maps, side)
    logits, deltas, flat = torch.cat([t for t, _ in said], 1), torch.cat([b for _, b in said], 1), np.concatenate(anchors)
    regions, asked, there, boxes = [], 0, 0.0, 0.0
    for n, ((corners, labels), proposals) in enumerate(zip(shown, net.propose(said, anchors, side))):
        objects, classes, ignored = corners[labels >= 0], labels[labels >= 0], corners[labels < 0]
        label, box = assign(flat, objects, ignored, *s["anchor_iou"])
        yes, no = draw(*(torch.from_numpy(np.flatnonzero(label == v)) for v in (1, 0)), s["anchors"], s["anchor_share"])
        asked += len(yes) + len(no)
        there = there + F.binary_cross_entropy_with_logits(logits[n, torch.cat([yes, no])], torch.cat([torch.ones(len(yes)), torch.zeros(len(no))]), reduction="sum")
        if len(yes):
            target = encode(torch.from_numpy(flat)[yes], torch.from_numpy(objects[box[yes.numpy()]]))
            boxes = boxes + F.smooth_l1_loss(deltas[n, yes], target, beta=BETA, reduction="sum")
        all_of = np.concatenate([proposals.numpy(), objects])
        overlap = iou(all_of, objects) if len(objects) else np.zeros((len(all_of), 1))
        shows = overlap.max(1) >= s["region_iou"]
        not_one = ~shows & ~covered(all_of, ignored)
        yes, no = draw(*(torch.from_numpy(np.flatnonzero(v)) for v in (shows, not_one)), s["regions"], s["region_share"])
        best = overlap.argmax(1)[yes.numpy()]
        regions.append((torch.from_numpy(all_of)[torch.cat([yes, no])], classes[best] if len(yes) else np.zeros(0, int), objects[best] if len(yes) else objects[:0]))
    loss = (there + boxes) / max(asked, 1)
    say, where = net.look(maps, [r for r, _, _ in regions], side)
    labels = torch.cat([torch.from_numpy(np.concatenate([1 + k, np.zeros(len(r) - len(k), int)])) for r, k, _ in regions])
    loss = loss + F.cross_entropy(say, labels)
    shows = labels.nonzero()[:, 0]
    if len(shows):
        objects = torch.from_numpy(np.concatenate([o for _, _, o in regions]))
        target = encode(torch.cat([r for r, _, _ in regions])[shows], objects) / DEVIATIONS
        said = where[shows, labels[shows] - 1]
        loss = loss + net.head["box_weight"] * F.smooth_l1_loss(said, target, beta=BETA, reduction="sum") / len(labels)
    return loss


def first_loss(net, t):
    """The loss of a step whose anchors and regions are written out: the inputs of echogrid's network by name."""
    side, maps = t["image"].shape[-1], net.pyramid(t["image"])
    total = 0.0
    for k, (logits, deltas) in enumerate(net.proposals(m) for m in maps):
        terms = F.binary_cross_entropy_with_logits(logits, t[f"there{k}"].view_as(logits), reduction="none")
        total = total + (terms * t[f"asks{k}"].view_as(logits)).sum()
        there = t[f"proposed{k} weights"] > 0
        total = total + F.smooth_l1_loss(deltas.flatten(0, 1)[t[f"proposed{k} rows"].long()[there]], t[f"proposed{k} boxes"][there], beta=BETA, reduction="sum")
    places, boxes, labels = t["places"].view(-1, 2), t["regions"], t["labels"]
    used = labels < 1e6
    image = places[used, 0].long()
    regions = [boxes[used][image == n] for n in range(len(t["image"]))]
    order = torch.cat([(image == n).nonzero()[:, 0] for n in range(len(regions))])
    say, where = net.look(maps, regions, side)
    labels = labels[used].long()[order]
    loss = total / t["asked"] + F.cross_entropy(say, labels)
    there = t["located weights"] > 0
    picked = t["located rows"].long()[there]
    back = torch.empty_like(order).index_put((order,), torch.arange(len(order)))
    said = where[back[picked // net.count], picked % net.count]
    return loss + net.head["box_weight"] * F.smooth_l1_loss(said, t["located boxes"][there], beta=BETA, reduction="sum") / t["looked at"]
