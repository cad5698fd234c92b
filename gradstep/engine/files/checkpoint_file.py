"""The whole state as a .safetensors file, and back: no pickle, and nothing is changed by a file that does not fit."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from torch import Tensor

from gradstep.engine.checkpoint import Checkpoint, Key
from gradstep.engine.debuggee.batches import leaves
from gradstep.engine.digest import measured_on
from gradstep.engine.files.safetensors import damaged, read_texts, write
from gradstep.engine.files.trees import encode
from gradstep.engine.randomness import Randomness
from gradstep.values.commands import PointCommand
from gradstep.values.errors import GradstepError, wrong

if TYPE_CHECKING:
    from gradstep.engine.held import Held

FORMAT = "1"
"""Raised when files can no longer be read by what wrote the ones before."""
_COMMANDS = msgspec.json.Decoder(list[PointCommand])
_PLAIN = (
    *("phase", "torch", "done", "iteration", "value", "change", "used_batch", "written", "steps_since_forward"),
    *("ran", "freed", "again", "rates_before", "edit"),
)
"""The fields of a point that are no tensors."""


def place_of_file(path: str, folder: str) -> Path:
    """Return where a file of a command is: a relative one begins at the script's folder."""
    return Path(folder, os.path.expanduser(path)).absolute()


def save(
    held: Held,
    checkpoint: Checkpoint,
    then: Sequence[PointCommand],
    losses: tuple[Any, Any],
    digest: str,
    path: Path,
) -> int:
    """Write a checkpoint to a file; return its bytes.

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
    tensors: dict[str, Tensor] = {}
    state = _encoded(held, checkpoint, losses, tensors)
    texts = {
        "gradstep": FORMAT,
        "state": json.dumps(state),
        "then": msgspec.json.encode(list(then)).decode(),
        "digest": digest,
        "measured_on": measured_on(),
    }
    try:
        write(path, tensors, texts)
        return path.stat().st_size
    except OSError as error:
        remedy = "a file that was there is as it was"
        raise wrong(
            "the checkpoint can't be written", f"{path}: {error.strerror or error}", remedy, path.name
        ) from None


def _encoded(held: Held, checkpoint: Checkpoint, losses: tuple[Any, Any], tensors: dict[str, Tensor]) -> Any:
    kept = checkpoint.optimizer

    def tensor(key: Key, name: str) -> Any:
        image = checkpoint.images.get(key)
        return None if image is None else encode(image.contents.detach(), tensors, name)

    state = [
        (
            held.names.get(owner, ""),
            {
                key: tensor(("state", held.names.get(owner, ""), str(key)), f"{held.names.get(owner, '')}.state.{key}")
                if isinstance(value, Tensor)
                else encode(value, tensors, f"{held.names.get(owner, '')}.state.{key}")
                for key, value in were.items()
            },
        )
        for owner, _, were in kept.state
    ]
    point = checkpoint.point
    sequence = held.batches.sequence
    return {
        "weights": {name: tensor(("weight", name), name) for name, _ in held.parameters},
        "grads": {name: tensor(("grad", name), f"{name}.grad") for name, _ in held.parameters},
        "buffers": {name: tensor(("buffer", name), name) for name, _, _ in held.buffer_slots},
        "optimizer": type(kept.optimizer).__name__,
        "groups": [
            [
                [held.names.get(p, "") for p in parameters],
                {
                    key: tensor(("group", str(i), key), f"group {i}.{key}")
                    if isinstance(value, Tensor)
                    else encode(value, tensors, f"group {i}.{key}")
                    for key, value in were.items()
                },
            ]
            for i, (_, were, parameters) in enumerate(kept.groups)
        ],
        "state": state,
        "objects": {name: encode(value, tensors, name) for name, value in checkpoint.objects.items()},
        "randomness": _generators(checkpoint.randomness, tensors, "generators"),
        "cursor": [checkpoint.cursor.taken, checkpoint.cursor.within],
        "epoch": None
        if checkpoint.cursor.start is None
        else _generators(checkpoint.cursor.start, tensors, "generators at the start of the epoch"),
        "batch": None if sequence is not None else encode(checkpoint.cursor.batch, tensors, "batch"),
        "written": [
            [place, name, tensor(key, f"batch {place} {name}")] for place, name, key in _written(held, checkpoint)
        ],
        "training": list(checkpoint.training),
        "requires_grad": list(checkpoint.requires_grad),
        "ledger": {name: list(entry) for name, entry in checkpoint.accounts.entries.items()},
        "point": {field: encode(getattr(point, field), tensors, field) for field in _PLAIN},
        "losses": encode(losses, tensors, "losses"),
    }


def _written(held: Held, checkpoint: Checkpoint) -> Iterator[tuple[int, str, Key]]:
    """Yield the tensors of a list of batches that were written: a batch's place, its tensor's name, and the image."""
    keys = {id(tensor): ("batch", str(place)) for place, (tensor, _) in enumerate(held.batches.written)}
    for place, batch in enumerate(held.batches.sequence or () if keys else ()):
        for name, leaf in leaves(batch):
            key = keys.get(id(leaf))
            if key is not None and key in checkpoint.images:
                yield place, name, key


def _generators(kept: Randomness, tensors: dict[str, Tensor], name: str) -> Any:
    return {
        "torch": encode(kept.cpu, tensors, f"{name}.torch"),
        "devices": [encode(state, tensors, f"{name}.{i}") for i, (_, state) in enumerate(kept.devices)],
        "python": encode(kept.python, tensors, f"{name}.python"),
        "numpy": encode(kept.numpy, tensors, f"{name}.numpy"),
    }


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
