"""Runs to report on, a classifier that sees red, and a parser of pages."""

import html.parser
import shutil
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

from stackgan_jax.data.synthetic_birds.attributes import COLOUR_ATTRIBUTES
from stackgan_jax.evaluation import attributes
from stackgan_jax.runtime import configuration


class SeesRed(attributes.Judge):
    """A classifier that reads red in every attribute of every picture."""

    def __init__(self, accuracy):
        super().__init__({"nothing": np.zeros(1)}, accuracy)

    def read(self, images):
        assert images.dtype == np.float32 and images.min() >= -1 and images.max() <= 1
        return {name: np.full(len(images), "red") for name in COLOUR_ATTRIBUTES}


@pytest.fixture
def accuracy():
    """The accuracy of SeesRed; a test may change it."""
    return {name: 0.99 for name in COLOUR_ATTRIBUTES} | {"eyes": 0.5}


@pytest.fixture
def judge(monkeypatch, accuracy):
    """Replaces the package's classifier by SeesRed."""
    monkeypatch.setattr(attributes, "load", lambda: SeesRed(accuracy))


@pytest.fixture
def quickstart(runs, tmp_path):
    """A quickstart's folder of the trained runs."""
    config = ConfigDict({"name": "quickstart"})
    for kind in ("text_encoder", "stage1", "stage2"):
        shutil.copytree(runs / kind, tmp_path / "quick" / kind)
        config[kind] = configuration.read(runs / kind / "config.json")
    configuration.write(tmp_path / "quick" / "config.json", config)
    return tmp_path / "quick"


@pytest.fixture
def stage1(runs, tmp_path):
    """The folder of a Stage-I run."""
    return Path(shutil.copytree(runs / "stage1", tmp_path / "stage1"))


class Page(html.parser.HTMLParser):
    """The images, links, column headings and text of a page; every tag must be closed."""

    def __init__(self, page):
        super().__init__()
        self.images, self.links, self.headings, self.text = [], [], [], ""
        self.open, self.in_heading = [], False
        self.feed(page)
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "img":
            self.images.append(attributes)
        self.links += [value for name, value in attributes.items() if name in ("src", "href")]
        if tag not in ("img", "meta", "br", "line"):
            self.open.append(tag)
        self.in_heading = tag == "th" and attributes["scope"] == "col"
        if self.in_heading:
            self.headings.append("")

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        self.in_heading = False

    def handle_data(self, data):
        self.text += data
        if self.in_heading:
            self.headings[-1] += data


@pytest.fixture(scope="session")
def parsed():
    """HTML → Page."""
    return Page
