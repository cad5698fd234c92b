"""Each program of the corpus: its faults are found, and nothing that is not there."""

from __future__ import annotations

import pytest

from checks.corpus import Program, corpus, findings_of

TUNED = [program for program in corpus() if not program.held_out]


@pytest.mark.parametrize("program", TUNED, ids=lambda each: each.name)
def test_what_is_wrong_is_found_and_nothing_else(program: Program) -> None:
    found = findings_of(program)
    assert {each.rule for each in found} >= set(program.faults)
    false = [each for each in found if each.rule not in (*program.faults, *program.allowed)]
    assert [f"{each.severity} {each.rule}: {each.what}" for each in false if each.severity != "hint"] == []
    assert all(each.what and each.why and each.remedy for each in found)
