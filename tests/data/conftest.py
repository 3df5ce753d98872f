"""Folders that the tests of data sets write to."""

import pytest


@pytest.fixture
def folder(tmp_path):
    """An empty folder for pictures; its parent is for other files of the test."""
    (tmp_path / "mine").mkdir()
    return tmp_path / "mine"
