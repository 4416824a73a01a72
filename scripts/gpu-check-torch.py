"""Frames by a queue of torch.multiprocessing, to compare xmem with: lines "figure: answer" on standard output.

The producer fills a frame of 1080p NV12 and puts it into the queue; the client takes it and waits for its device. The
time is that from before the put to after the wait. Frames follow each other at 4 ms.
"""

import os
import subprocess
import sys
import time

FRAMES = 500
WARM_UP = 50


def consume(queue, times):
    import torch

    late = []
    for _ in range(FRAMES):
        sent, frame = queue.get()
        frame[:1].clone()
        torch.cuda.synchronize()
        late.append(time.monotonic_ns() - sent)
        del frame
    times.put(late)


def measure():
    import torch
    import torch.multiprocessing as multiprocessing

    context = multiprocessing.get_context("spawn")
    queue, times = context.Queue(), context.Queue()
    client = context.Process(target=consume, args=(queue, times))
    client.start()
    kept = []
    for number in range(FRAMES):
        frame = torch.full((1920 * 1080 * 3 // 2,), number % 256, dtype=torch.uint8, device="cuda")
        torch.cuda.synchronize()
        queue.put((time.monotonic_ns(), frame))
        # The memory has to stay until the client has opened it.
        kept = kept[-16:] + [frame]
        time.sleep(0.004)
    late = sorted(times.get(timeout=30)[WARM_UP:])
    client.join(5)
    share = [late[min(len(late) - 1, int(len(late) * part))] / 1e3 for part in (0.5, 0.99, 1)]
    print("p50 {:.0f} p99 {:.0f} max {:.0f} us of {}".format(*share, len(late)), flush=True)


def main():
    if sys.argv[1:] == ["measure"]:
        return measure()
    import torch

    print(f"torch: {torch.__version__}", flush=True)
    for name, setting in (("legacy IPC", ""), ("expandable segments", "expandable_segments:True")):
        environment = dict(os.environ, PYTORCH_CUDA_ALLOC_CONF=setting, PYTORCH_ALLOC_CONF=setting)
        if not setting:
            del environment["PYTORCH_CUDA_ALLOC_CONF"], environment["PYTORCH_ALLOC_CONF"]
        row = f"torch.multiprocessing, 1080p NV12, {name}"
        try:
            done = subprocess.run(
                [sys.executable, __file__, "measure"], env=environment, timeout=28, text=True, capture_output=True
            )
            last = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()[-1:]
            print(f"{row}: {'' if done.returncode == 0 else 'SKIP '}{''.join(last)}", flush=True)
        except subprocess.TimeoutExpired:
            print(f"{row}: SKIP no end in time", flush=True)


if __name__ == "__main__":
    main()
