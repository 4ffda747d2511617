"""The collectives of crates/c10d/examples/all_reduce_speed.rs through PyTorch's torch.distributed, on Gloo.

    python bench/distributed/gloo.py [RANKS]

The same sizes, the same number of repeats, the same medians.
"""

import os
import socket
import subprocess
import sys
import time

BYTES = [1 << 10, 1 << 14, 1 << 18, 1 << 22, 1 << 26, 1 << 28]


def main():
    if "RANK" in os.environ:
        measure()
        return
    ranks = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for rank in range(ranks):
        place = {"RANK": rank, "WORLD_SIZE": ranks, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
        place = {name: str(value) for name, value in place.items()}
        children.append(subprocess.Popen([sys.executable, __file__], env={**os.environ, **place}))
    sys.exit(max(child.wait() for child in children))


def measure():
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    world = dist.get_world_size()
    if dist.get_rank() == 0:
        print("| collective | ranks | bytes | seconds | GB/s |\n| --- | ---: | ---: | ---: | ---: |", flush=True)
    for size in BYTES:
        whole = torch.ones(size // 4)
        part = torch.ones(size // 4 // world)
        report("all_reduce", size, lambda: dist.all_reduce(whole, dist.ReduceOp.SUM))
        report("reduce_scatter", size, lambda: dist.reduce_scatter_tensor(part, whole))
        report("all_gather", size, lambda: dist.all_gather_into_tensor(whole, part))
    dist.destroy_process_group()


def report(name, size, run):
    import torch.distributed as dist

    for _ in range(2):
        run()
    times = []
    for _ in range(min(max((1 << 28) // size, 5), 200)):
        dist.barrier()
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    times.sort()
    seconds = times[len(times) // 2]
    if dist.get_rank() == 0:
        print(f"| {name} | {dist.get_world_size()} | {size} | {seconds:.6f} | {size / seconds / 1e9:.3f} |", flush=True)


if __name__ == "__main__":
    main()
