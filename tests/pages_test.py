"""Every page of docs/ can be found and says whom it is for; its links lead to something."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted(page.relative_to(ROOT) for page in (ROOT / "docs").rglob("*.md"))
LINK = re.compile(r"\]\((?P<path>[^)#:\s]+)(?:#[^)\s]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_page_says_whom_it_is_for_and_is_listed(page):
    place = page.relative_to("docs").as_posix()
    paragraph = read(page).split("\n\n")[1]
    assert paragraph.startswith("This page is for anyone")
    assert f": {place}\n" in read("mkdocs.yml")
    assert place == "README.md" or f"]({place})" in read("docs/README.md")


@pytest.mark.parametrize("page", [*PAGES, Path("README.md"), Path("CONTRIBUTING.md")], ids=str)
def test_links_lead_to_files_of_the_repository(page):
    for link in LINK.finditer(read(page)):
        assert (ROOT / page.parent / link["path"]).exists(), link["path"]


def read(page):
    return (ROOT / page).read_text(encoding="utf-8")
