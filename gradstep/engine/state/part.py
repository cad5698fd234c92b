"""What a part of the state is: how it is captured, restored, hashed, written to a file, read back and compared."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

from torch import Tensor

from gradstep.engine.debuggee.debuggee import Debuggee

Key: TypeAlias = tuple[str, ...]
"""Which tensor of the state: its kind, and where it is, such as ("weight", "2.bias") or ("state", "2.bias", "exp_avg").
"""
Row: TypeAlias = tuple[Key, Tensor]

T = TypeVar("T")


class Writing(NamedTuple):
    """What an act may write in place, as far as more than one part has to know it."""

    code: bool = False
    """True where code of the user's runs."""
    weights: Sequence[tuple[str, Tensor]] = ()
    grads: bool = False
    """True where `.grad` may be written in place."""
    clears: bool = False
    """True where `.grad` may be replaced, or set to None."""
    optimizer: bool = False
    takes_batch: bool = False
    batch: bool = False
    """True where the batch that is held may be written."""


class Total(Protocol):
    """The hash that a part adds to."""

    def add(self, name: str, value: Any) -> None:
        """Add a value: a number, a text, a tensor, or a container of these."""
        ...

    def raw(self, part: bytes) -> None:
        """Add bytes."""
        ...

    def tensor(self, key: Key) -> None:
        """Add what the tensor of a key holds, or that there is none."""
        ...

    def hash_of(self, tensor: Tensor) -> bytes:
        """Return the hash of what a tensor holds at the moment that is hashed."""
        ...


class Writer(Protocol):
    """The file that a part is written to."""

    def tensor(self, key: Key, name: str) -> Any:
        """Return what stands in the file for the tensor of a key; None where there is none."""
        ...

    def value(self, value: Any, name: str) -> Any:
        """Return what stands in the file for a value; raise where only pickle could write it."""
        ...

    def leave_out(self, what: str) -> None:
        """Note that the file lacks something of the state."""
        ...


class Reader(Protocol):
    """The file that a part is read from."""

    @property
    def path(self) -> Path:
        """Where it lies."""
        ...

    @property
    def state(self) -> Mapping[str, Any]:
        """All that it says."""
        ...

    def value(self, value: Any) -> Any:
        """Return what was written as this."""
        ...

    def refuse(self, what: str) -> Exception:
        """Return the error for a file of another workload."""
        ...

    def damaged(self, what: str) -> Exception:
        """Return the error for a file that contradicts itself."""
        ...


class Found(NamedTuple):
    """What a file holds of a part, as it fits the workload."""

    put: Callable[[], None]
    """Puts it in place."""
    writes: Sequence[Row] = ()
    """The tensors that this writes in place."""


class Part(ABC, Generic[T]):
    """One part of the state.

    What is captured of it holds the very objects (a `.grad`, a buffer, an optimizer's dict) but no tensor's contents:
    those are kept apart, for all parts alike.
    """

    name: ClassVar[str]
    kinds: ClassVar[Mapping[str, str]] = {}
    """The kinds of its keys, and what a row of Compare calls a tensor of each."""
    each_time: ClassVar[bool] = True
    """Captured at every point of a history; with False only after an act that may write it, for it costs something."""
    begins_forward: ClassVar[bool] = True
    """True where a forward that is run again has to begin with what it was before it."""
    alone: ClassVar[bool] = False
    """True where what is captured refers to no tensor of the state: it can be put over a state that was run again."""

    holds_graphs: ClassVar[bool] = False
    """True where what is captured may hold a graph that is alive."""

    @abstractmethod
    def capture(self, held: Debuggee) -> T:
        """Return what is kept of it now; nothing may write that later."""

    def present(self, held: Debuggee) -> T:
        """Return what `capture` does, to be read at once: nothing has to be copied."""
        return self.capture(held)

    @abstractmethod
    def restore(self, held: Debuggee, kept: T) -> None:
        """Put back what was captured, as often as is wanted: the same objects in the same places."""

    def without_graphs(self, kept: T) -> T:
        """Return what was captured without a graph that is alive: kept for later, it would keep all it saved alive."""
        return kept

    def with_graphs(self, kept: T, present: T) -> T:
        """Return what was captured, with the graphs that are there now in the place of those it was kept without."""
        return kept

    def may_write(self, held: Debuggee, writing: Writing) -> Iterable[Row] | None:
        """Return the tensors of it that an act may write in place; None where the act can't change it at all."""
        return () if writing.code else None

    def tensors(self, held: Debuggee, kept: T) -> Iterable[tuple[Key, Tensor | None]]:
        """Return its tensors by key, and None where there is none; a shared one comes once for each of its places."""
        return ()

    def put(self, held: Debuggee, key: Key, tensor: Tensor | None) -> None:
        """Put a tensor in the place of a key."""

    def title(self, key: Key) -> str:
        """Return what the tensor of a key is called."""
        return key[1]

    def hash(self, held: Debuggee, kept: T, total: Total) -> None:
        """Add it to the digest."""

    def encode(self, held: Debuggee, kept: T, file: Writer) -> Mapping[str, Any]:
        """Return what a file says of it, as JSON has it."""
        return {}

    def decode(self, held: Debuggee, file: Reader) -> Found:
        """Return what a file says of it; nothing is changed yet. Raise where that does not fit."""
        return Found(lambda: None)

    def differ(self, one: T, other: T) -> Iterator[str]:
        """Yield in what two moments differ that is no tensor's contents, in words."""
        yield from ()

    def size(self, kept: T, before: T | None) -> int:
        """Return about how many bytes it takes that are no tensor's contents, and not shared with the point before."""
        return 0
