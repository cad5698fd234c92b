"""Line breakpoints of a script: what is traced while there is one."""

from __future__ import annotations

import sys
from types import FrameType
from typing import NamedTuple

from gradstep.engine.script.lines import LineStops


def test_lines_are_traced_only_in_functions_that_have_the_line_of_a_breakpoint() -> None:
    traced: dict[str, bool] = {}
    hits: list[tuple[str, int, tuple[int, ...]]] = []

    def here() -> None:
        traced["here"] = sys._getframe().f_trace is not None

    def beside() -> None:
        traced["beside"] = sys._getframe().f_trace is not None

    def hit(frame: FrameType, numbers: tuple[int, ...]) -> None:
        hits.append((frame.f_code.co_name, frame.f_lineno, numbers))

    line = here.__code__.co_firstlineno + 1
    stops = LineStops(hit)
    stops.places = {__file__: {line: (3,)}}
    stops.install()
    try:
        here()
        beside()
    finally:
        stops.places = {}
        stops.install()
    assert hits == [("here", line, (3,))]
    assert traced == {"here": True, "beside": False}
    assert sys.gettrace() is None


def test_other_places_are_other_functions() -> None:
    hits: list[str] = []

    def first() -> None:
        hits.append("ran")

    stops = LineStops(lambda frame, _: hits.append(frame.f_code.co_name))
    line = first.__code__.co_firstlineno + 1
    for places in ({__file__: {line + 1000: (1,)}}, {__file__: {line: (1,)}}):
        stops.places = places
        stops.install()
        try:
            first()
        finally:
            stops.places = {}
            stops.install()
    assert hits == ["ran", "first", "ran"]


def test_a_pause_does_not_stop_in_generated_code() -> None:
    class Pair(NamedTuple):
        one: int
        other: int

    files: list[str] = []
    stops = LineStops(lambda frame, _: files.append(frame.f_code.co_filename))
    stops.pause()
    try:
        for number in range(1000):
            Pair(number, number)
    finally:
        stops.paused()
        stops.install()
    assert set(files) == {__file__}
