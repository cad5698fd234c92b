"""The whole state as a .safetensors file, and back: no pickle, and a file that does not match changes nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from torch import Tensor

from gradstep.engine.debuggee.debuggee import Debuggee
from gradstep.engine.files.safetensors import damaged, read, read_texts, write
from gradstep.engine.files.trees import decode, encode
from gradstep.engine.state import registry
from gradstep.engine.state.digest import measured_on
from gradstep.engine.state.part import Found, Key, Row
from gradstep.engine.state.snapshot import Checkpoint
from gradstep.values.commands import PointCommand
from gradstep.values.errors import GradstepError, wrong

FORMAT = "1"
"""Raised when files can no longer be read by what wrote the ones before."""
_COMMANDS = msgspec.json.Decoder(list[PointCommand])


def resolve_path(path: str, folder: str) -> Path:
    """Return the absolute path of a command's file; relative paths start at the script's folder."""
    return Path(folder, os.path.expanduser(path)).absolute()


@dataclass(frozen=True)
class _Writer:
    """A checkpoint as it is written."""

    checkpoint: Checkpoint
    tensors: dict[str, Tensor] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def tensor(self, key: Key, name: str) -> Any:
        """Return what stands in the file for the tensor of a key; None where there is none."""
        image = self.checkpoint.images.get(key)
        return None if image is None else encode(image.contents.detach(), self.tensors, name)

    def value(self, value: Any, name: str) -> Any:
        """Return what stands in the file for a value; raise where only pickle could write it."""
        return encode(value, self.tensors, name)

    def leave_out(self, what: str) -> None:
        """Note that the file lacks something of the state."""
        self.left_out.append(what)


class _Reader(NamedTuple):
    """A file as it is read."""

    path: Path
    state: Mapping[str, Any]
    tensors: dict[str, Tensor]

    def value(self, value: Any) -> Any:
        """Return what was written as this."""
        return decode(value, self.tensors)

    def refuse(self, what: str) -> GradstepError:
        """Return the error for a file of another workload."""
        return wrong("this file is of another workload", f"{self.path}: {what}", "nothing was changed", self.path.name)

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
    """Write a checkpoint to a file; return its bytes, and what it lacks: what only pickle could write.

    Args:
        held: whose it is.
        checkpoint: a point whose loss has no graph that is alive: a graph is not written.
        then: commands that lead on from there, to build one.
        losses: the losses up to the checkpoint, and their learning rates.
        digest: of the state that the commands lead to.
        path: the file.

    Raises:
        GradstepError: it can't be written; a file that was there is as it was.
    """
    file = _Writer(checkpoint)
    state: dict[str, Any] = {"losses": file.value(losses, "losses")}
    for part in registry.PARTS:
        state.update(part.encode(held, checkpoint.kept[part.name], file))
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
        remedy = "a file that was there is as it was"
        raise wrong(
            "the checkpoint can't be written", f"{path}: {error.strerror or error}", remedy, path.name
        ) from None


def find(held: Debuggee, path: Path) -> list[Found]:
    """Read a file and check that it fits; nothing is changed.

    Raises:
        GradstepError: it can't be read, is damaged, or is of another workload or optimizer.
    """
    try:
        tensors, texts = read(path)
        file = _Reader(path, json.loads(ours(path, texts)["state"]), tensors)
        losses, rates = file.value(file.state["losses"])
        found = [part.decode(held, file) for part in registry.PARTS]
    except GradstepError:
        raise
    except OSError as error:
        raise unreadable(path, error) from None
    except (LookupError, ValueError, TypeError, AttributeError, msgspec.MsgspecError) as error:
        raise damaged(path, f"what it says can't be understood ({type(error).__name__}: {error})") from None

    def put_losses() -> None:
        held.losses[:], held.loss_rates[:] = [tuple(each) for each in losses], list(rates)

    return [Found(put_losses), *found]


def put(found: Sequence[Found]) -> None:
    """Restore the contents of a file; parameters and buffers stay the same objects."""
    for each in found:
        each.put()


def written_by(found: Sequence[Found]) -> list[Row]:
    """Return the tensors that this writes in place."""
    return [row for each in found for row in each.writes]


def pending(path: Path) -> tuple[list[PointCommand], str, str]:
    """Return the commands that lead on from what a file holds, the digest they lead to, and where that was measured.

    Raises:
        GradstepError: it can't be read, or is no file of gradstep's.
    """
    try:
        texts = ours(path, read_texts(path))
        return _COMMANDS.decode(texts["then"]), texts["digest"], texts["measured_on"]
    except OSError as error:
        raise unreadable(path, error) from None
    except (msgspec.MsgspecError, KeyError) as error:
        raise damaged(path, f"{type(error).__name__}: {error}") from None


def ours(path: Path, texts: dict[str, str]) -> dict[str, str]:
    """Return the texts of a file; raise where `checkpoint` did not write it."""
    if "gradstep" not in texts:
        raise wrong(
            "this file can't be restored", f"{path} was not written by `checkpoint`", "nothing was changed", path.name
        )
    if texts["gradstep"] != FORMAT:
        what = f"{path} is of format {texts['gradstep']}, this gradstep reads {FORMAT}"
        raise wrong("this file can't be restored", what, "nothing was changed", path.name)
    return texts


def unreadable(path: Path, error: OSError) -> GradstepError:
    """Return the error for a file that can't be read."""
    return wrong("this file can't be read", f"{path}: {error.strerror or error}", "check the path", path.name)
