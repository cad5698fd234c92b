"""Writing files: whole or not at all, and never over another unasked."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gradstep.values.errors import wrong


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a new empty file beside the one at `path`, and put it in its place at the end.

    At any time there is the old file or the new one, never half of one; after an error the old one, and nothing beside
    it. What is no file (a pipe, /dev/stdout) is yielded itself.

    Raises:
        OSError: it can't be written.
    """
    if path.exists() and not path.is_file():
        yield path
        return
    path = Path(os.path.realpath(path))  # a link stays a link
    draft = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield draft
        with draft.open("rb") as written:
            os.fsync(written.fileno())
        if path.exists():
            draft.chmod(path.stat().st_mode & 0o777)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def write_text(path: Path, text: str, folders: bool = False) -> None:
    """Write a text file as `replacing` does.

    Args:
        path: the file.
        text: what will be in it.
        folders: whether to make the folders that it lies in.

    Raises:
        OSError: it can't be written.
    """
    if folders:
        path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")


def refuse_to_overwrite(path: Path, line: str, over: bool) -> None:
    """Refuse to write a file that is there already, unless `over` is set.

    Args:
        path: the file.
        line: the command that writes it, as a line; with a `!` behind its word it overwrites.
        over: whether that `!` was given.

    Raises:
        GradstepError: the file is there.
    """
    if path.exists() and not over:
        word, _, rest = line.partition(" ")
        raise wrong("the file is there already", str(path), f"`{word}! {rest}` overwrites it", path.name)
