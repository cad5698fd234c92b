"""Writing files atomically, and refusing to overwrite."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gradstep.values.errors import wrong


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield an empty temporary file, and rename it to `path` at the end, so that the write is atomic.

    After an error `path` is unchanged and the temporary file is removed. A `path` that is not a regular file (a pipe,
    /dev/stdout) is yielded itself.

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
        text: its contents.
        folders: whether to create missing parent folders.

    Raises:
        OSError: it can't be written.
    """
    if folders:
        path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")


def refuse_to_overwrite(path: Path, line: str, over: bool) -> None:
    """Raise an error if a file exists, unless `over` is set.

    Args:
        path: the file.
        line: the command that writes it, as a line; with a `!` after its word it overwrites.
        over: whether the `!` was given.

    Raises:
        GradstepError: the file exists.
    """
    if path.exists() and not over:
        word, _, rest = line.partition(" ")
        raise wrong("the file already exists", str(path), f"`{word}! {rest}` overwrites it", path.name)
