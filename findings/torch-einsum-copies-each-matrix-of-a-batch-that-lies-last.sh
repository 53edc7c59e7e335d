#!/usr/bin/env bash
# PyTorch 2.15.0 (CPU): torch.einsum over a batch index that lies last (spectra [V, C, F] and [P, C, F] multiplied frequency by
# frequency, as in correlation by FFT) hands strided views to bmm, which on the processor clones every small matrix by itself.
# Expected: one copy of each operand into a layout that bmm takes, then one batched product.
# Seen: 16,640 clones for 8,320 frequencies, of real and of complex values alike; several times as long as laying both out by
# permute().contiguous() and calling bmm, though that copies as much. No warning; the result is the same.
# Matters to: matching and training by FFT correlation on processors. benches/peers/dense_training.py lays its spectra out.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/v"
"$dir/v/bin/pip" -q install "torch==2.15.0" "numpy==2.2.6"
"$dir/v/bin/python" -W ignore - <<'P'
import time

import torch
from torch.profiler import ProfilerActivity, profile

torch.manual_seed(1)
torch.set_num_threads(1)


def clones(run):
    with profile(activities=[ProfilerActivity.CPU]) as p:
        run()
    return sum(e.count for e in p.key_averages() if e.key == "aten::clone")


def seconds(run):
    times = []
    for _ in range(15):
        begin = time.process_time()
        run()
        times.append(time.process_time() - begin)
    return sorted(times)[7]


print("PyTorch", torch.__version__)
for dtype in (torch.float32, torch.complex64):
    a, b = torch.randn(4, 16, 8320, dtype=dtype), torch.randn(28, 16, 8320, dtype=dtype)
    lay = lambda x: x.permute(2, 0, 1).contiguous()
    plain, laid = lambda: torch.einsum("vcf,pcf->pvf", a, b), lambda: torch.bmm(lay(b), lay(a).mT).permute(1, 2, 0)
    assert torch.allclose(plain(), laid(), atol=1e-4)
    counts, times = (clones(plain), clones(laid)), (seconds(plain), seconds(laid))
    print(f"{dtype}: einsum {counts[0]} clones, {1000 * times[0]:.0f} ms; laid out first {counts[1]} clones, {1000 * times[1]:.0f} ms")
    assert counts[0] >= 2 * 8320 and counts[1] < 10
    assert times[0] > 1.5 * times[1], "einsum is no slower any more"
P
