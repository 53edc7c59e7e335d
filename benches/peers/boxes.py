#!/usr/bin/env python3
"""Boxes: echogrid beside torchvision, on the same boxes, the same cores, in the same run; and torchvision's values, to hold echogrid's against.

    python3 benches/peers/boxes.py [--device cpu] [--out FILE.json]
    python3 benches/peers/boxes.py --values FILE.safetensors && ECHOGRID_TORCHVISION=FILE.safetensors cargo test --release --test kernels torchvision

Needs PyTorch, torchvision of the same release and echogrid built; `--values` needs safetensors too. Timed are non-maximum suppression of 10,000 boxes,
`Matcher` on the IoU of 100,000 anchors and 100 boxes, and RoIAlign of 1,000 regions on the four levels of a pyramid of 256 channels, forward and
backward: a call a level, as torchvision's MultiScaleRoIAlign makes them, each in its layout (NCHW). echogrid's figures are those of `echogrid bench nms box_match
roi_align`, on the boxes that are drawn here. `--values` writes inputs and results of torchvision instead and times nothing; the test compares: indices, labels
and copies exactly, sums within their rounding.
"""

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from torchvision.models.detection._utils import Matcher
from torchvision.ops import batched_nms, box_iou, nms, roi_align

from common import echogrid_cases, median_time, parser, report, start

SCALES = (1 / 4, 1 / 8, 1 / 16, 1 / 32)


def noise(n):
    """echogrid's random::signed(n, 1)."""
    with np.errstate(over="ignore"):
        z = (np.arange(n, dtype=np.uint64) + np.uint64((1 << 32) + 1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return torch.from_numpy(((z >> np.uint64(40)).astype(np.float64) / 2**23 - 1).astype(np.float32))


def boxes(n):
    """Boxes of 8 to 128 px in 1,024 x 1,024 px, as benches/nms.rs draws them."""
    r = noise(4 * n).view(n, 4)
    center, half = 512 + 512 * r[:, :2], (68 + 60 * r[:, 2:]) / 2
    return torch.cat([center - half, center + half], 1)


def regions(n):
    """Those boxes four times as large, within the image, and their levels, as benches/roi_align.rs draws them."""
    b = boxes(n)
    center, side = (b[:, :2] + b[:, 2:]) / 2, 2 * (b[:, 2:] - b[:, :2])
    b = torch.cat([center - side, center + side], 1).clamp(0, 1024)
    area = ((b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])).double()
    return b, (4 + torch.log2(area.sqrt() / 224) + 1e-6).floor().clamp(2, 5).long() - 2


def align(maps, places, levels, images, bins, samples):
    """A call a level."""
    y = maps[0].new_zeros(len(places), maps[0].shape[1], bins, bins)
    for level, (x, scale) in enumerate(zip(maps, SCALES)):
        own = torch.nonzero(levels == level)[:, 0]
        rois = torch.cat([images[own, None].to(places), places[own]], 1)
        y = y.index_copy(0, own, roi_align(x, rois, bins, scale, samples, aligned=True))
    return y


def values(path):
    from safetensors.torch import save_file

    torch.manual_seed(1)
    out = {}
    places, scores = boxes(10_000), noise(50_000)[40_000:].clone()
    classes = torch.arange(10_000) % 20
    out |= {"nms.boxes": places, "nms.scores": scores, "nms.groups": classes}
    # batched_nms leaves the order of equal scores to chance; nms has the lower index first.
    kept = batched_nms(places, scores, classes, 0.5).sort()[0]
    kept = kept[scores[kept].sort(descending=True, stable=True)[1]]
    out |= {"nms.kept": nms(places, scores, 0.5), "nms.kept_by_group": kept}

    both = boxes(100_100)
    truth, anchors = both[:100].clone(), both[100:].clone()
    iou = box_iou(truth, anchors)
    best, rows = iou.max(0)
    out |= {"match.boxes": truth, "match.anchors": anchors, "match.best": best, "match.rows": rows, "match.iou": iou[:, :1000].clone()}
    for name, low_quality in (("labels", False), ("labels_low_quality", True)):
        labels = Matcher(0.7, 0.3, low_quality)(iou)
        # echogrid's labels: 1 with a box, 0 without, -1 for neither.
        out[f"match.{name}"] = torch.where(labels >= 0, 1, torch.where(labels == Matcher.BELOW_LOW_THRESHOLD, 0, -1))

    places, levels = regions(1000)
    # Some of them beyond the border.
    places[::7] += torch.tensor([-90.0, -60, -90, -60])
    images = torch.arange(1000) % 2
    maps = [torch.randn(2, 12, 1024 // s, 1024 // s, requires_grad=True) for s in (4, 8, 16, 32)]
    out |= {"roi.boxes": places, "roi.places": torch.stack([images, levels], 1)}
    out |= {f"roi.x{i}": x.detach().permute(0, 2, 3, 1) for i, x in enumerate(maps)}
    for name, bins, samples in (("two", 7, 2), ("adaptive", 7, -1)):
        y = align(maps, places, levels, images, bins, samples)
        dy = torch.randn_like(y)
        dx = torch.autograd.grad(y, maps, dy)
        out |= {f"roi.{name}.y": y.detach().permute(0, 2, 3, 1), f"roi.{name}.dy": dy.permute(0, 2, 3, 1)}
        out |= {f"roi.{name}.dx{i}": d.permute(0, 2, 3, 1) for i, d in enumerate(dx)}

    x = torch.randn(2, 8, 13, 25, requires_grad=True)
    y = F.interpolate(x, size=(25, 50), mode="nearest")
    dy = torch.randn_like(y)
    (dx,) = torch.autograd.grad(y, x, dy)
    out |= {f"resize.{n}": t.detach().permute(0, 2, 3, 1) for n, t in (("x", x), ("y", y), ("dy", dy), ("dx", dx))}
    save_file({k: (v.int() if v.dtype == torch.long else v).contiguous() for k, v in out.items()}, path)


def main():
    a = parser(__doc__, repeats=7)
    a.add_argument("--values", metavar="FILE.safetensors", help="write inputs and torchvision's results, and time nothing")
    args = a.parse_args()
    if args.values:
        return values(args.values)

    ours, about = echogrid_cases(args, "nms", "box_match", "roi_align")
    result = start(args) | {"torchvision": torchvision.__version__} | about | {"cases": []}
    device = args.device

    def case(name, echogrid, run):
        seconds = median_time(run, args)[0]
        result["cases"].append({"name": name, "echogrid_s": echogrid, "torchvision_s": seconds, "ratio": seconds / echogrid})

    places, scores = boxes(10_000).to(device), noise(50_000)[40_000:].to(device)
    classes = (torch.arange(10_000) % 20).to(device)
    both = boxes(100_100).to(device)
    truth, anchors = both[:100], both[100:]
    with torch.no_grad():
        case("suppression, 10,000 boxes", ours["nms 1 x 10000 boxes, 1 groups"], lambda: nms(places, scores, 0.5))
        case("suppression, 10,000 boxes of 20 classes", ours["nms 1 x 10000 boxes, 20 groups"], lambda: batched_nms(places, scores, classes, 0.5))
        matcher = Matcher(0.7, 0.3, True)
        name = "box match 1 x 100000 anchors x 100 boxes, best of each box"
        case("matching, 100,000 anchors x 100 boxes", ours[name], lambda: matcher(box_iou(truth, anchors)))

    places, levels = (v.to(device) for v in regions(1000))
    images = torch.zeros(1000, dtype=torch.long, device=device)
    maps = [torch.randn(1, 256, s, s, device=device, requires_grad=True) for s in (256, 128, 64, 32)]
    for how, samples in (("2 samples", 2), ("adaptive", -1)):
        name = f"1000 regions of 4 levels x 256, 7 bins, {how}"
        forward, backward = ours[f"roi align {name}"], ours[f"roi align backward {name}"]
        with torch.no_grad():
            case(f"RoIAlign, {how}, forward", forward, lambda: align(maps, places, levels, images, 7, samples))
        dy = torch.randn(1000, 256, 7, 7, device=device)
        both_ways = lambda: torch.autograd.grad(align(maps, places, levels, images, 7, samples), maps, dy)
        case(f"RoIAlign, {how}, forward and backward", forward + backward, both_ways)
    report(result, args)


if __name__ == "__main__":
    main()
