"""What the peers of the benchmarks of models share: steps, timed, and memory, as bench_model takes them."""
import time


def memory(key):
    """Of this process, in bytes: VmRSS now, VmHWM at its highest."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(key))


def timed_steps(model, batch, steps):
    """Forward and backward, `steps` times: the last loss, and per step the seconds of the wall and of the CPU."""
    seconds, cpu_seconds = [], []
    for _ in range(steps):
        start, cpu_start = time.perf_counter(), time.process_time()
        model.zero_grad(set_to_none=True)
        loss = model(**batch, use_cache=False).loss
        loss.backward()
        value = loss.item()
        del loss
        seconds.append(time.perf_counter() - start)
        cpu_seconds.append(time.process_time() - cpu_start)
    return value, seconds, cpu_seconds
