"""Engines for the tests of the session room, and a look at what a test leaves behind."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from hearing import Heard

from gradstep.session.transport.process import spawn_engine
from gradstep.session.transport.remote import RemoteSession


def descriptors() -> dict[str, str]:
    """Return what each open descriptor of this process is, by number."""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the one that listed the folder is gone
            found[number] = os.readlink(f"/proc/self/fd/{number}")
    return found


def children_here() -> set[str]:
    """Return the child processes of this one: torch keeps one that compiles, once something was compiled."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """Fail when the test leaves a descriptor, a thread or a child process."""
    before, threads, children = descriptors(), set(threading.enumerate()), children_here()
    yield
    assert descriptors() == before
    assert set(threading.enumerate()) == threads
    assert children_here() <= children


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch, nothing_left: None) -> Iterator[Callable[[], tuple[RemoteSession, Heard]]]:
    """Return a function that starts a session on a stub engine, with the list of its events."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    sessions = []
    spawn = partial(spawn_engine, "stub_engine")

    def start() -> tuple[RemoteSession, Heard]:
        session = RemoteSession(spawn(), spawn)
        sessions.append(session)
        events = Heard()
        session.on_event = events.append
        return session, events

    yield start
    for session in sessions:
        session.kill()
