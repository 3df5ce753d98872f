"""What the site takes from outside docs/: each text has one place, in the repository.

MkDocs calls these functions. Pages link to each other as on a Git server, by their places in the
repository; here the links become those of the site.
"""

import json
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
# Place in the repository → place on the site. The other files of docs/ keep their places.
PLACES = {
    "README.md": "start.md",
    "CONTRIBUTING.md": "contributing.md",
    "CITATION.cff": "CITATION.cff",
    "LICENSE": "LICENSE.txt",
    "stackgan_jax/pretrained/builtin/README.md": "builtin_model.md",
    "stackgan_jax/pretrained/builtin/samples.png": "samples.png",
    "docs/notebooks/folder_to_pictures.ipynb": "notebooks/folder_to_pictures.md",
}
LINK = re.compile(r"\]\((?P<path>[^)#:\s]+)(?P<anchor>#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the files outside docs/, and notebooks as pages."""
    for source, target in PLACES.items():
        path = ROOT / source
        if path.suffix == ".ipynb":
            added = File.generated(config, target, content=page_of_notebook(path))
        else:
            added = File.generated(config, target, abs_src_path=str(path))
        files.append(added)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Points the links of a page at places of the site."""
    del config, files
    target = page.file.src_uri
    source = {site: place for place, site in PLACES.items()}.get(target, f"docs/{target}")
    folders = posixpath.dirname(source), posixpath.dirname(target)

    def moved(link: re.Match[str]) -> str:
        place = posixpath.normpath(posixpath.join(folders[0], link["path"]))
        site = PLACES.get(place, place.removeprefix("docs/"))
        return f"]({posixpath.relpath(site, folders[1] or '.')}{link['anchor'] or ''})"

    return LINK.sub(moved, markdown)


def page_of_notebook(path: Path) -> str:
    """The cells of a notebook as Markdown."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells]
    return "\n\n".join(
        text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```"
        for cell, text in zip(cells, texts, strict=True)
    )
