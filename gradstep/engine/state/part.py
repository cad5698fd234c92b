"""A part of the state: how it is captured, restored, hashed, encoded, decoded and compared."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

from torch import Tensor

from gradstep.engine.debuggee.debuggee import Debuggee
from gradstep.engine.state.hashing import Hasher

Key: TypeAlias = tuple[str, ...]
"""A tensor of the state: its kind and its names, such as ("weight", "2.bias") or ("state", "2.bias", "exp_avg")."""
Row: TypeAlias = tuple[Key, Tensor]

Captured = TypeVar("Captured")
"""What `Part.capture` returns."""


class Writing(NamedTuple):
    """What an act may write."""

    code: bool = False
    """True when user code runs."""
    weights: Sequence[tuple[str, Tensor]] = ()
    grads: bool = False
    """True when `.grad` may be written in place."""
    clears: bool = False
    """True when `.grad` may be replaced or set to None."""
    optimizer: bool = False
    takes_batch: bool = False
    batch: bool = False
    """True when the current batch may be written in place."""
    buffers: bool = False
    """True when modules run, of whose state only the buffers are of interest; with `code` they always are."""


class Writer(Protocol):
    """The file that a part is written to."""

    def tensor(self, key: Key, name: str) -> Any:
        """Return the file's entry for a tensor of the state; None when it is None."""
        ...

    def value(self, value: Any, name: str) -> Any:
        """Return the file's entry for a value; raise when only pickle could write it."""
        ...

    def leave_out(self, what: str) -> None:
        """Record that the file lacks a piece of state."""
        ...


class Reader(Protocol):
    """The file that a part is read from."""

    @property
    def path(self) -> Path:
        """The file's path."""
        ...

    @property
    def state(self) -> Mapping[str, Any]:
        """The sections of the file."""
        ...

    def value(self, value: Any) -> Any:
        """Return the value of an entry."""
        ...

    def differences(self, name: str, one: Any, other: Any) -> Iterator[str]:
        """Yield the differences between two entries, other than tensor contents, in words."""
        ...

    def refuse(self, what: str) -> Exception:
        """Return the error for a file from another workload."""
        ...

    def damaged(self, what: str) -> Exception:
        """Return the error for a file that contradicts itself."""
        ...


class Decoded(NamedTuple):
    """A part as read from a file, checked against the workload."""

    apply: Callable[[], None]
    """Writes it to the workload."""
    writes: Sequence[Row] = ()
    """The tensors that `apply` writes in place."""


class Part(ABC, Generic[Captured]):
    """One part of the state.

    `capture` holds references to the live objects (a `.grad`, a buffer, an optimizer's dict), not the contents of
    tensors: those are copied separately, for all parts alike.
    """

    name: ClassVar[str]
    kinds: ClassVar[Mapping[str, str]] = {}
    """The kinds of its keys, and the word for each in the Compare panel."""
    always_captured: ClassVar[bool] = True
    """False to capture it only after an act that may write it, because capturing is expensive."""
    restored_for_rerun: ClassVar[bool] = True
    """True when a rerun of a forward must start from the value it had before that forward."""
    self_contained: ClassVar[bool] = False
    """True when a capture refers to no tensor of the state, so that it can be restored on top of a rerun."""
    holds_graphs: ClassVar[bool] = False
    """True when a capture may hold a live graph."""
    sections: ClassVar[Mapping[str, str]] = {}
    """Its sections of a file that are compared as a whole, and the word for each."""

    @abstractmethod
    def capture(self, held: Debuggee) -> Captured:
        """Capture its present value; nothing may modify the result later."""

    def present(self, held: Debuggee) -> Captured:
        """Return the same as `capture`, to be read at once: nothing needs to be copied."""
        return self.capture(held)

    @abstractmethod
    def restore(self, held: Debuggee, captured: Captured) -> None:
        """Restore a capture, any number of times: the same objects in the same places."""

    def without_graphs(self, captured: Captured) -> Captured:
        """Return a capture without live graphs, which would keep everything they saved alive."""
        return captured

    def with_graphs(self, captured: Captured, present: Captured) -> Captured:
        """Return a capture made by `without_graphs` with the live graphs of the present one."""
        return captured

    def may_write(self, held: Debuggee, writing: Writing) -> Iterable[Row] | None:
        """Return its tensors that an act may write in place; None when the act can't change the part at all."""
        return () if writing.code else None

    def tensors(self, held: Debuggee, captured: Captured) -> Iterable[tuple[Key, Tensor | None]]:
        """Return its tensors by key, None for an empty slot; a shared tensor appears under each of its keys."""
        return ()

    def put(self, held: Debuggee, key: Key, tensor: Tensor | None) -> None:
        """Assign a tensor to the slot of a key."""

    def title(self, key: Key) -> str:
        """Return the display name of a tensor."""
        return key[1]

    def hash(self, held: Debuggee, captured: Captured, hasher: Hasher) -> None:
        """Add it to the digest."""

    def encode(self, held: Debuggee, captured: Captured, file: Writer) -> Mapping[str, Any]:
        """Return its sections of a checkpoint file, ready for JSON."""
        return {}

    def decode(self, held: Debuggee, file: Reader) -> Decoded:
        """Read it from a file, changing nothing yet; raise when it does not fit the workload."""
        return Decoded(lambda: None)

    def differ(self, one: Captured, other: Captured) -> Iterator[str]:
        """Yield the differences between two captures, other than tensor contents, in words."""
        yield from ()

    def differ_in_files(self, one: Reader, other: Reader) -> Iterator[str]:
        """Yield the differences between two files, other than tensor contents, in words."""
        for section, word in self.sections.items():
            both = section in one.state and section in other.state  # the first files lack some
            if both and one.state[section] != other.state[section]:
                yield word

    def size(self, captured: Captured, before: Captured | None) -> int:
        """Return the approximate bytes of a capture, without tensor contents and what it shares with the one before."""
        return 0
