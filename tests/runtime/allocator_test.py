"""A process that keeps freed memory does not get it from the system again."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
from stackgan_jax.runtime import allocator
if sys.argv[1] == "keep":
    assert allocator.keep_freed_memory()
import jax
import jax.numpy as jnp
x = jnp.ones((40 << 20) // 4)
add = jax.jit(lambda x: x + 1)
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
counts = []
for _ in range(60):
    before = faults()
    add(x).block_until_ready()
    counts.append(faults() - before)
print(sorted(counts[30:])[15])
"""


def median_page_faults(mode):
    command = [sys.executable, "-c", FAULTS, mode]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can keep freed memory")
@pytest.mark.slow
def test_freed_memory_is_reused_without_page_faults():
    assert median_page_faults("keep") < 1000 < median_page_faults("as usual")
