"""Imported runs that several tests of the weights share."""

import pytest
from conversion import command, files_of


@pytest.fixture(scope="session")
def imported_run(tmp_path_factory):
    """Returns a function: name of a golden checkpoint → the workdir it was imported to."""
    workdirs = {}

    def make(name):
        if name not in workdirs:
            workdir = tmp_path_factory.mktemp("runs") / name
            command(*files_of(name), f"--workdir={workdir}")
            workdirs[name] = workdir
        return workdirs[name]

    return make
