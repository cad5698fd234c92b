"""A file is written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gradstep.values.files import replacing, write_text


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_text(tmp_path / "x.steps", "old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, broken, full)
    with pytest.raises(OSError, match="No space"):
        write_text(tmp_path / "x.steps", "new")
    assert os.listdir(tmp_path) == ["x.steps"]
    assert (tmp_path / "x.steps").read_text() == "old"


def test_the_old_file_is_there_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    write_text(path, "old")
    with replacing(path) as draft:
        draft.write_text("half of the n")
        assert path.read_text() == "old"
        assert (draft.parent, draft.suffix) == (tmp_path, ".py")
        draft.write_text("new")
    assert path.read_text() == "new"
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "half of it is a lone \udc80")
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["x.py"]


def test_the_mode_of_a_file_stays_and_a_new_one_has_the_usual(tmp_path: Path) -> None:
    kept, new, usual = tmp_path / "kept", tmp_path / "new", tmp_path / "usual"
    kept.touch(mode=0o600)
    usual.touch()
    write_text(kept, "x")
    write_text(new, "x")
    assert kept.stat().st_mode & 0o777 == 0o600
    assert new.stat().st_mode == usual.stat().st_mode


def test_a_link_stays_a_link_and_a_pipe_a_pipe(tmp_path: Path) -> None:
    target, link = tmp_path / "far.svg", tmp_path / "near.svg"
    link.symlink_to(target)
    write_text(link, "drawn")
    assert (link.is_symlink(), target.read_text()) == (True, "drawn")
    read, write = os.pipe()
    write_text(Path(f"/dev/fd/{write}"), "page")
    os.close(write)
    with open(read, encoding="utf-8") as pipe:
        assert pipe.read() == "page"


def test_folders_are_made_only_where_that_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_text(tmp_path / "no" / "x", "text")
    write_text(tmp_path / "a" / "b" / "x", "text", folders=True)
    assert (tmp_path / "a" / "b" / "x").read_text() == "text"
