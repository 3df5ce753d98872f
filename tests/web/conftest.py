"""A page that the tests of this folder visit."""

import re

import pytest
from serving import free_port, start


@pytest.fixture(scope="module")
def server(runs):
    """(address, process) of a page that draws by Stage II."""
    port = free_port()
    process = start(runs / "stage2", port)
    for line in process.stdout:
        if found := re.search(r"The page is at (\S+)", line):
            break
    else:
        pytest.fail(process.stderr.read())
    yield found[1], process
    if process.poll() is None:
        process.kill()
    process.wait()
