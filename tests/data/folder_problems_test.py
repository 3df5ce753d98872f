"""Folders, rows and shards that can't be used are rejected or reported with the reason."""

import json
from pathlib import Path

import pytest
from picture_folders import (
    contents,
    picture,
    problems,
    write_files,
    write_numbered_pictures,
    write_shard,
)

from stackgan_jax.runtime.errors import UserError


def test_paths_and_links_out_of_the_folder_are_rejected(folder):
    write_files(folder.parent, {"secret.png": picture()})
    outside = ["../secret.png", "/etc/hosts", "a/../../secret.png", "C:\\secret.png"]
    lines = [{"file_name": name, "text": "x"} for name in [*outside, "a.png", "b.png"]]
    write_files(folder, {"metadata.jsonl": lines, "a.png": picture(), "b.png": picture()})
    assert sum("outside the folder" in reason for reason in problems(folder).values()) == 4
    other = folder.parent / "shards"
    other.mkdir()
    members = {"../a.png": picture(), "/b.png": picture(), "c.png": None, "d.png": picture()}
    members |= {"d.txt": b"fine", "e.png": picture(), "e.txt": b"fine"}
    write_shard(other / "x.tar", members)
    assert problems(other) == {
        "x.tar/../a.png": "its path is outside the shard",
        "x.tar//b.png": "its path is outside the shard",
        "x.tar/c.png": "a link, not a file",
    }


def test_bad_rows_are_listed_with_their_reason(folder):
    good = [{"file_name": f"{i}.png", "text": "x"} for i in range(5)]
    lines = [json.dumps(line).encode() for line in good]
    lines += [b"{", b"[1]", b'{"text": "x"}', b'{"file_name": "none.png", "text": "x"}']
    lines += [b'{"file_name": "0.png", "text": 5}', b'{"file_name": "1.png", "text": "\xff"}']
    lines += [b'{"file_name": "2.png", "bbox": [1, 2]}', b'{"file_name": "3.png", "split": "no"}']
    lines += [b'{"file_name": "4.png", "text": "\\ud800"}', b"[" * 100_000]
    lines += [
        b'{"file_name": "5.png", "text": " \\u200b "}',
        b'{"file_name": "6.png", "text": "x"}',
    ]
    write_files(folder, {"metadata.jsonl": b"\n".join(lines)})
    write_files(folder, {f"{i}.png": picture(i) for i in range(7)})
    reasons = problems(folder)
    for name, reason in {
        "metadata.jsonl line 6": "not JSON",
        "metadata.jsonl line 7": "not a JSON object",
        "metadata.jsonl line 8": "no file_name",
        "none.png": "there is no such file",
        "0.png": "neither a sentence",
        "metadata.jsonl line 11": "not UTF-8",
        "2.png": "its bbox is not",
        "3.png": "'no' is none of train",
        "4.png": "not UTF-8",
        "metadata.jsonl line 15": "not JSON",
    }.items():
        assert reason in reasons[name]
    assert contents(folder).left_out == ["5.png: no caption"]


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"notes.md": "x"}, "There are no pictures in the folder"),
        ({"images.zip": b""}, r"no file .* tar \(images.zip: packed; unpack it\); give the folder"),
        ({"a.png": picture()}, "None of the 1 pictures .* has a caption"),
        ({"a.png": picture(), "a.txt": "x"}, "only one usable image"),
        ({"metadata.csv": "a,b\n1,2\n"}, "has no column file_name .its columns: a, b"),
        ({"metadata.csv": "file_name,text\na.png,x".encode("utf-16")}, "UTF-16 text; save it as"),
        ({"x.tar": b"no tar" * 200}, "The shard x.tar is not a complete, uncompressed tar"),
    ],
)
def test_a_folder_without_usable_pictures_raises_a_user_error(folder, files, sentence):
    write_files(folder, files)
    with pytest.raises(UserError, match=sentence):
        contents(folder)


def test_unreadable_files_are_reported(folder, monkeypatch):
    write_numbered_pictures(folder, 4)
    opened = Path.open

    def open_unless_forbidden(path, *arguments, **options):
        if path.name in ("001.txt", "metadata.jsonl"):
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *arguments, **options)

    # Permissions would not suffice: tests may run as root, which can read every file.
    monkeypatch.setattr(Path, "open", open_unless_forbidden)
    assert problems(folder) == {"001.png": "its text file can't be read (Permission denied)"}
    (folder / "metadata.jsonl").touch()
    with pytest.raises(UserError, match=r"metadata.jsonl can't be read \(Permission denied\)"):
        contents(folder)


def test_a_truncated_shard_is_rejected(folder):
    whole = folder.parent / "whole.tar"
    write_shard(whole, {"1.png": picture(1), "1.txt": b"one", "2.png": picture(2), "2.txt": b"two"})
    content = whole.read_bytes()
    for length in (700, 1024 + 512 + 3, 512 * 5 - 100):
        (folder / "x.tar").write_bytes(content[:length])
        with pytest.raises(UserError, match="not a complete, uncompressed tar"):
            contents(folder)
