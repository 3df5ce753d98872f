"""Prepares a folder, streams an epoch of it and prints the memory that was used.

    python tests/memory_probe.py my_pictures cache 76

Only anonymous memory counts, which the process itself holds. Pages of the prepared file are in
memory as well while there is room; the system drops them when there is none.
"""

import json
import sys
import threading
import time

from stackgan_jax.data import choices, input_pipeline, registry


class Peak:
    """The highest anonymous memory in kB since the last `take()`; Linux only."""

    def __init__(self):
        self._highest = 0
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self):
        while True:
            with open("/proc/self/status") as file:
                status = dict(line.split(":", 1) for line in file)
            self._highest = max(self._highest, int(status["RssAnon"].split()[0]))
            time.sleep(0.02)

    def take(self):
        highest, self._highest = self._highest, 0
        return highest


def main(path, cache, load_size):
    peak = Peak()
    data = registry.config("folder")
    data.update(path=path, dir=cache)
    began = time.monotonic()
    split = input_pipeline.load(data, "train", int(load_size))
    prepared = time.monotonic() - began
    preparing = peak.take()
    for step in range(len(split) // 64):
        split.images[choices.epoch_order(0, step, 64, len(split))].sum()
    measured = {"images": len(split), "preparing": preparing, "streaming": peak.take()}
    print(json.dumps(measured | {"seconds": round(prepared, 1), "processor": time.process_time()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
