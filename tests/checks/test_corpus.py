"""Each program of the corpus: its faults are found, and nothing that is not there."""

from __future__ import annotations

import pytest

from checks.corpus import Program, corpus, findings_of

MISSED = {
    "heldout_loop/language_model_accumulating_without_division": "AdamW does not depend on the scale of the gradient",
    "heldout_loss/inputs_shuffled_and_labels_not": "each input has one label throughout, only the wrong one",
    "heldout_numbers/adam_with_the_rate_of_sgd": "found as update-ratio-high",
    "heldout_numbers/sgd_with_the_rate_of_fine_tuning": "found as update-ratio-low",
    "heldout_numbers/penalty_that_drowns_the_error": "the penalty is less than a thousand times the error",
    "heldout_other/tied_head_reinitialised": "nothing is left of the tie when training begins",
    "blind_tables/house_prices_shuffled_apart": "of regressions, labels are not compared",
}
"""Programs of these sets whose fault is not found, and why."""


@pytest.mark.parametrize("program", corpus(), ids=lambda each: each.name)
def test_what_is_wrong_is_found_and_nothing_else(program: Program) -> None:
    found = findings_of(program)
    complete = {each.rule for each in found} >= set(program.faults)
    assert complete is (program.name not in MISSED)
    false = [each for each in found if each.rule not in (*program.faults, *program.allowed)]
    assert [f"{each.severity} {each.rule}: {each.what}" for each in false if each.severity != "hint"] == []
    assert all(each.what and each.why and each.remedy for each in found)
