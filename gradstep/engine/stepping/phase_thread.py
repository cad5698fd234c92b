"""A phase on its own thread, so that it can stop inside and be inspected: only one of the two threads ever runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from queue import Empty, SimpleQueue
from typing import TypeVar, cast

import torch

STACK = 128 << 20
"""Bytes of the second thread's stack: torch frees a long graph by recursion. Memory is taken as it is used."""
T = TypeVar("T")
Errand = Callable[[], object]


_MISSED = 0.1
"""Seconds after which a signal is handled that arrived just before a wait began, and so did not end it."""


class AbandonedError(KeyboardInterrupt):
    """Raised in a phase to give it up, as ctrl+c would; no `except Exception` catches it."""


class PhaseThread:
    """Runs work on a second thread, which stops where it calls `halt`; the first thread resumes it.

    Torch's thread-local state (grad mode, autocast, default device) is carried over to the second thread. What `ask` is
    given runs there too, and sees the same state as the work.

    Args:
        work: what to run. What it raises is raised by `go` on the first thread.
        waiting: called on the first thread when a pause was requested and the work has not stopped yet.
    """

    def __init__(self, work: Callable[[], None], waiting: Callable[[], None] = lambda: None) -> None:
        self._work, self._waiting = work, waiting
        self._orders: SimpleQueue[Errand | None] = SimpleQueue()
        self._answered: tuple[str, object] | None = None
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._carried = _thread_state()
        self._thread = threading.Thread(target=self._run, name="gradstep-phase", daemon=True)
        self._abandoned = False
        self.halted = False
        self.done = False
        self.pausing = False
        """True when the work is to stop at the next place."""

    # -- on the first thread -------------------------------------------------------------------------------------------
    def go(self) -> bool:
        """Let the work run to its next stop or its end; return True at a stop, False when it has ended.

        A KeyboardInterrupt while it runs makes it pause at the next place; a second one makes it give up there.

        Raises:
            BaseException: what the work raised, at its end.
        """
        self.halted, self.pausing = False, False
        if self._thread.ident is None:
            self._begin()
        kind, value = self._send(None)
        if kind == "halt":
            self.halted, self.pausing = True, False
            return True
        self.done = True
        if kind == "raised":
            raise cast(BaseException, value)
        return False

    def ask(self, errand: Callable[[], T]) -> T:
        """Call something at the stop, on the thread of the work; return what it returns, raise what it raises."""
        kind, value = self._send(errand)
        if self.pausing:  # nothing that runs at a stop can be paused: its result is dropped
            self.pausing = self._abandoned = False
            raise KeyboardInterrupt
        if kind == "raised":
            raise cast(BaseException, value)
        return cast(T, value)

    def abandon(self) -> None:
        """Make the work give up where it is, and wait for its end."""
        self._abandoned = True
        try:
            while self.go():
                pass
        except BaseException as error:
            if not isinstance(error, AbandonedError) and not isinstance(error.__cause__, AbandonedError):
                raise

    def _begin(self) -> None:
        before = threading.stack_size(STACK)
        try:
            self._thread.start()
        except BaseException:  # interrupted while it waited for the thread to start: it must not begin now
            self._abandoned = True
            self._orders.put(None)
            raise
        finally:
            threading.stack_size(before)

    def _send(self, order: Errand | None) -> tuple[str, object]:
        """Send an order and wait for the answer. It stays until it is taken, so no interrupt can lose it."""
        sent, shown = False, True
        while True:
            try:
                if not sent:
                    sent = True
                    self._orders.put(order)
                if not shown:
                    shown = True
                    self._waiting()
                while self._answered is None:
                    with suppress(Empty):
                        self._bell.get(timeout=_MISSED)
                break
            except KeyboardInterrupt:
                self._abandoned, self.pausing, shown = self.pausing, True, False
        answer, self._answered = self._answered, None
        return answer

    # -- on the thread of the work -------------------------------------------------------------------------------------
    def check(self) -> None:
        """Raise if the work is to be given up; called wherever it could stop."""
        if self._abandoned:
            raise AbandonedError

    def halt(self) -> None:
        """Stop here until the first thread resumes the work; run what it asks meanwhile."""
        self._answer("halt")
        while (errand := self._orders.get()) is not None:
            self._answer(*_done(errand))
        self.check()

    def _answer(self, kind: str, value: object = None) -> None:
        self._answered = (kind, value)
        self._bell.put(None)

    def _run(self) -> None:
        try:
            self._orders.get()
            self.check()
            with ExitStack() as stack:
                _carry(stack, *self._carried)
                self._work()
        except BaseException as error:
            self._answer("raised", error)
        else:
            self._answer("end")


def _done(errand: Errand) -> tuple[str, object]:
    try:
        return "answer", errand()
    except BaseException as error:
        return "raised", error


_ThreadState = tuple[bool, "torch.device | None", list[tuple[str, torch.dtype]]]


def _thread_state() -> _ThreadState:
    """Return torch's state of this thread: grad mode, the default device where one is set, autocast."""
    kinds = [kind for kind in ("cpu", "cuda", "mps") if torch.is_autocast_enabled(kind)]
    device = torch.get_default_device()
    return (
        torch.is_grad_enabled(),
        device if device.type != "cpu" else None,
        [(kind, torch.get_autocast_dtype(kind)) for kind in kinds],
    )


def _carry(stack: ExitStack, grad: bool, device: torch.device | None, autocasts: list[tuple[str, torch.dtype]]) -> None:
    torch.set_grad_enabled(grad)
    if device is not None:
        stack.enter_context(device)
    for kind, dtype in autocasts:
        stack.enter_context(torch.autocast(kind, dtype))
