"""Checkpoint files: the whole state as a .safetensors file, without pickle; one that does not fit changes nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from torch import Tensor

from gradstep.engine.debuggee.debuggee import Debuggee
from gradstep.engine.files.safetensors import damaged, read, read_texts, write
from gradstep.engine.files.trees import decode, differences, encode
from gradstep.engine.state import registry
from gradstep.engine.state.digest import measured_on
from gradstep.engine.state.part import Decoded, Key
from gradstep.engine.state.snapshot import Checkpoint
from gradstep.values.commands import PointCommand
from gradstep.values.errors import GradstepError, wrong

FORMAT = "1"
"""Incremented when an older gradstep can't read the new files."""
_COMMANDS = msgspec.json.Decoder(list[PointCommand])


def resolve_path(path: str, folder: str) -> Path:
    """Return the absolute path of a command's file; a relative one is relative to the script's folder."""
    return Path(folder, os.path.expanduser(path)).absolute()


@dataclass(frozen=True)
class _Writer:
    """A checkpoint being written."""

    checkpoint: Checkpoint
    tensors: dict[str, Tensor] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def tensor(self, key: Key, name: str) -> Any:
        """Return the file's entry for a tensor of the state; None when it is None."""
        image = self.checkpoint.images.get(key)
        return None if image is None else encode(image.contents.detach(), self.tensors, name)

    def value(self, value: Any, name: str) -> Any:
        """Return the file's entry for a value; raise when only pickle could write it."""
        return encode(value, self.tensors, name)

    def leave_out(self, what: str) -> None:
        """Record that the file lacks a piece of state."""
        self.left_out.append(what)


class FileReader(NamedTuple):
    """A file being read."""

    path: Path
    state: Mapping[str, Any]
    tensors: dict[str, Tensor]

    def value(self, value: Any) -> Any:
        """Return the value of an entry."""
        return decode(value, self.tensors)

    def differences(self, name: str, one: Any, other: Any) -> Iterator[str]:
        """Yield the differences between two entries, other than tensor contents, in words."""
        return differences(name, one, other)

    def refuse(self, what: str) -> GradstepError:
        """Return the error for a file from another workload."""
        return wrong(
            "this file is from another workload", f"{self.path}: {what}", "nothing was changed", self.path.name
        )

    def damaged(self, what: str) -> GradstepError:
        """Return the error for a file that contradicts itself."""
        return damaged(self.path, what)


def save(
    held: Debuggee,
    checkpoint: Checkpoint,
    then: Sequence[PointCommand],
    losses: tuple[Any, Any],
    digest: str,
    path: Path,
) -> tuple[int, list[str]]:
    """Write a checkpoint to a file; return its bytes, and the state it lacks because only pickle could write it.

    Args:
        held: the workload.
        checkpoint: a checkpoint without a live graph, which a file can't hold.
        then: the commands to run after restoring it, to rebuild the graph.
        losses: the losses up to the checkpoint, and their learning rates.
        digest: the digest of the state after those commands.
        path: the file.

    Raises:
        GradstepError: the file can't be written; an existing one is unchanged.
    """
    file = _Writer(checkpoint)
    state: dict[str, Any] = {"losses": file.value(losses, "losses")}
    for part in registry.PARTS:
        state.update(part.encode(held, checkpoint.captured[part.name], file))
    texts = {
        "gradstep": FORMAT,
        "state": json.dumps(state),
        "then": msgspec.json.encode(list(then)).decode(),
        "digest": digest,
        "measured_on": measured_on(),
    }
    try:
        write(path, file.tensors, texts)
        return path.stat().st_size, file.left_out
    except OSError as error:
        remedy = "an existing file is unchanged"
        raise wrong(
            "the checkpoint can't be written", f"{path}: {error.strerror or error}", remedy, path.name
        ) from None


def load(held: Debuggee, path: Path) -> list[Decoded]:
    """Read a file and check that it fits the workload, which is not changed yet.

    Raises:
        GradstepError: it can't be read, is damaged, or is from another workload or optimizer.
    """
    try:
        tensors, texts = read(path)
        file = FileReader(path, json.loads(ours(path, texts)["state"]), tensors)
        losses, rates = file.value(file.state["losses"])
        decoded = [part.decode(held, file) for part in registry.PARTS]
    except GradstepError:
        raise
    except OSError as error:
        raise unreadable(path, error) from None
    except (LookupError, ValueError, TypeError, AttributeError, msgspec.MsgspecError) as error:
        raise not_understood(path, error) from None

    def apply_losses() -> None:
        held.losses[:], held.loss_rates[:] = [tuple(each) for each in losses], list(rates)

    return [Decoded(apply_losses), *decoded]


def pending(path: Path) -> tuple[list[PointCommand], str, str]:
    """Return the commands to run after restoring a file, the digest after them, and where that was measured.

    Raises:
        GradstepError: it can't be read, or was not written by gradstep.
    """
    try:
        texts = ours(path, read_texts(path))
        return _COMMANDS.decode(texts["then"]), texts["digest"], texts["measured_on"]
    except OSError as error:
        raise unreadable(path, error) from None
    except (msgspec.MsgspecError, KeyError) as error:
        raise damaged(path, f"{type(error).__name__}: {error}") from None


def ours(path: Path, texts: dict[str, str]) -> dict[str, str]:
    """Return the metadata of a file; raise when `checkpoint` did not write it."""
    if "gradstep" not in texts:
        raise wrong(
            "this file can't be restored", f"{path} was not written by `checkpoint`", "nothing was changed", path.name
        )
    if texts["gradstep"] != FORMAT:
        what = f"{path} has format {texts['gradstep']}, and this gradstep reads format {FORMAT}"
        raise wrong("this file can't be restored", what, "nothing was changed", path.name)
    return texts


def unreadable(path: Path, error: OSError) -> GradstepError:
    """Return the error for a file that can't be read."""
    return wrong("this file can't be read", f"{path}: {error.strerror or error}", "check the path", path.name)


def not_understood(path: Path, error: Exception) -> GradstepError:
    """Return the error for a file whose contents can't be decoded."""
    return damaged(path, f"its contents can't be decoded ({type(error).__name__}: {error})")
