#!/usr/bin/env python3
"""Convolutions, products and exact search: echogrid beside PyTorch and FAISS, on the same cores in the same run.

    python3 benches/peers/products.py [--out FILE.json]

Needs PyTorch and echogrid built; FAISS (`pip install faiss-cpu`) is measured where it is there. A convolution is 3 x 3 on 8 images of 32 x 32 with 64
channels, in PyTorch in the faster of its two layouts; its backward pass gives both gradients. The search asks for the 10 greatest
products of 256 values among 100,000 rows: in PyTorch a product and `topk`, in FAISS its flat index (both f32; echogrid's rows
are f16). echogrid's figures are those of `echogrid bench conv matmul topk`. On a machine with CUDA the same is measured
there (`--device cuda`), with automatic mixed precision beside.
"""

import torch
import torch.nn.functional as F

from common import echogrid_cases, median_time, parser, report, start


def main():
    a = parser(__doc__, repeats=7)
    args = a.parse_args()

    ours, about = echogrid_cases(args, "conv", "matmul", "topk")
    result = start(args) | about | {"cases": []}

    def case(name, echogrid, peers, flops):
        best = min(peers, key=peers.get)
        result["cases"].append({
            "name": name, "echogrid_s": echogrid, **{f"{k}_s": v for k, v in peers.items()}, "fastest_peer": best,
            "ratio_to_it": peers[best] / echogrid, "echogrid_gflops": flops / echogrid * 1e-9, "peer_gflops": flops / peers[best] * 1e-9,
        })

    def timed(run):
        return median_time(run, args)[0]

    device = args.device
    amp = [("", False)] + ([("_amp", True)] if device.startswith("cuda") else [])
    flops = 2 * 8 * 32 * 32 * 64 * 64 * 9
    once, both = {}, {}
    for layout, form in [("nchw", torch.contiguous_format), ("channels_last", torch.channels_last)]:
        x = torch.randn(8, 64, 32, 32, device=device).contiguous(memory_format=form).requires_grad_()
        w = torch.randn(64, 64, 3, 3, device=device).contiguous(memory_format=form).requires_grad_()
        dy = torch.randn(8, 64, 32, 32, device=device).contiguous(memory_format=form)
        for name, mixed in amp:
            def forward():
                with torch.autocast(device.split(":")[0], dtype=torch.float16, enabled=mixed):
                    return F.conv2d(x, w, padding=1)

            with torch.no_grad():
                once[f"torch_{layout}{name}"] = timed(forward)
            both[f"torch_{layout}{name}"] = timed(lambda: torch.autograd.grad(forward(), (x, w), dy))
    case("convolution, forward", ours["conv 3x3/1 64->64 8x32x32"], once, flops)
    case("convolution, forward and both gradients", ours["conv all three 3x3/1 64->64 8x32x32"], both, 3 * flops)

    a, b = torch.randn(1024, 1024, device=device), torch.randn(1024, 1024, device=device)
    case("product 1024 x 1024 x 1024", ours["matmul 1024x1024x1024"], {"torch": timed(lambda: a @ b)}, 2 * 1024**3)

    rows = torch.randn(100_000, 256, device=device)
    try:
        import faiss

        faiss.omp_set_num_threads(args.threads)
        flat = faiss.IndexFlatIP(256)
        flat.add(rows.cpu().numpy())
        result["faiss"] = faiss.__version__
    except ImportError:
        flat = None
    for n in (1, 1000):
        q = torch.randn(n, 256, device=device)
        peers = {"torch": timed(lambda: torch.topk(q @ rows.T, 10))}
        if flat is not None:
            host = q.cpu().numpy()
            peers["faiss"] = timed(lambda: flat.search(host, 10))
        case(f"search, {n} queries", ours[f"topk {n} queries x 100000 x 256 f16 k=10"], peers, 2 * n * 100_000 * 256)
    report(result, args)


if __name__ == "__main__":
    main()
