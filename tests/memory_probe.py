"""Prepares a folder, streams an epoch of it and tells how much memory that took.

    python tests/memory_probe.py my_pictures cache 76

What counts is anonymous memory, which the process itself holds; pages of the prepared file are in
memory too as long as there is room, and dropped when there is none.
"""

import json
import sys
import threading
import time

from stackgan_jax.data import batches, input_pipeline
from stackgan_jax.runtime import configuration


class Peak:
    """The highest anonymous memory in kB since it was last asked for; Linux only."""

    def __init__(self):
        self._highest = 0
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self):
        while True:
            with open("/proc/self/status") as file:
                told = dict(line.split(":", 1) for line in file)
            self._highest = max(self._highest, int(told["RssAnon"].split()[0]))
            time.sleep(0.02)

    def take(self):
        highest, self._highest = self._highest, 0
        return highest


def main(path, cache, load_size):
    peak = Peak()
    data = configuration.data_set("folder")
    data.update(path=path, dir=cache)
    began = time.monotonic()
    split = input_pipeline.load(data, "train", int(load_size))
    prepared = time.monotonic() - began
    preparing = peak.take()
    for step in range(len(split) // 64):
        split.images[batches.epoch_order(0, step, 64, len(split))].sum()
    told = {"images": len(split), "preparing": preparing, "streaming": peak.take()}
    print(json.dumps(told | {"seconds": round(prepared, 1), "processor": time.process_time()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
