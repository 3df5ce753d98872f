"""A process that keeps freed memory does not get it from the system again, and starts for that."""

import os
import platform
import subprocess
import sys

import pytest

from stackgan_jax.runtime import allocator

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


RESTART = """
import os, sys
from stackgan_jax.runtime import allocator
print("start", os.getpid(), *sys.argv[1:], flush=True)
allocator._can_ask_for_huge_pages = lambda: "can" in sys.argv
allocator._is_the_program = lambda: True
allocator.restart_with_huge_pages()
print(os.environ.get("GLIBC_TUNABLES", "none"))
"""


@pytest.mark.parametrize(
    ("able", "given", "starts", "setting"),
    [
        ("can", None, 2, "glibc.malloc.hugetlb=1"),
        ("can", "glibc.malloc.perturb=0", 2, "glibc.malloc.perturb=0:glibc.malloc.hugetlb=1"),
        ("can", "glibc.malloc.hugetlb=0", 1, "glibc.malloc.hugetlb=0"),
        ("never", None, 1, "none"),
    ],
)
def test_a_program_starts_again_with_the_same_arguments_and_number(able, given, starts, setting):
    environment = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"}
    environment |= {"GLIBC_TUNABLES": given} if given else {}
    command = [sys.executable, "-c", RESTART, able, "a b"]
    started = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    *starting, last = started.stdout.splitlines()
    assert len(starting) == starts
    assert len(set(starting)) == 1
    assert last == setting


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["-m", "stackgan_jax.main", "--config=a"], True),
        (["/usr/bin/stackgan-jax", "train"], True),
        (["-m", "pytest", "stackgan_jax.main"], False),
        (["-c", "import stackgan_jax.main"], False),
        ([], False),
    ],
)
def test_only_the_programs_themselves_start_again(command, expected, monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", ["python", *command])
    assert allocator._is_the_program() == expected


def median_page_faults(mode):
    command = [sys.executable, "-c", FAULTS, mode]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can keep freed memory")
@pytest.mark.slow
def test_freed_memory_is_reused_without_page_faults():
    assert median_page_faults("keep") < 1000 < median_page_faults("as usual")
