"""Stubs of commands that would start work or cost money, and the calls that they record."""

import os
import stat
import subprocess
from pathlib import Path

NOTE = """#!/bin/bash
printf '%s' "$(basename "$0")" >> "$NOTES"
printf ' %q' "$@" >> "$NOTES"
echo >> "$NOTES"
"""


class Stubs:
    """Stubs at the front of PATH, and the calls that they record."""

    def __init__(self, folder: Path):
        self.folder, self.notes = folder, folder / "notes"
        self.machine = folder / "machine"
        for name in ("bin", "machine", "tmp"):
            (folder / name).mkdir()
        self.environment = {
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "NOTES": str(self.notes),
            "MACHINE": str(self.machine),
            "TMPDIR": str(folder / "tmp"),
        }
        self.notes.touch()

    def add(self, name, program="", answers=None, **lines):
        path = self.folder / "bin" / name
        path.write_text(NOTE + program)
        path.chmod(path.stat().st_mode | stat.S_IEXEC)
        for variable, words in lines.items():
            (self.folder / variable).write_text("".join(f"{word}\n" for word in words))
            self.environment[variable] = str(self.folder / variable)

    def run(self, script, *arguments, **settings):
        return subprocess.run(
            [script, *arguments],
            env={**self.environment, "HOME": str(self.machine), **settings},
            capture_output=True,
            text=True,
            timeout=60,
            cwd=self.folder,
        )

    def calls(self):
        return self.notes.read_text().splitlines()
