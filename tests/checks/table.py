"""The tables of what the checks find over the corpus: `python tests/checks/table.py` writes them.

One line a rule goes into the README, one line a program into `programs.md` beside this file.

Per rule: in how many of the programs that have its fault it was found, and in how many others it was reported. Programs
where a rule's finding is a consequence of another fault count neither way. The held-out programs and the blind ones are
counted on their own: as they are now, and as they were in the first run (`first_run.json`: what was declared, what was
found, and which checks failed), before any rule was changed for them. `CORRECTIONS` lists the programs that have been
corrected since.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests")]
BEGIN, END = "<!-- checks: begin -->", "<!-- checks: end -->"

if TYPE_CHECKING:
    from checks.corpus import Program

CORRECTIONS = {
    "held out": (
        "`made.py`: `blobs`, `pictures` and `plane` drew other classes or coefficients at each call, so programs that "
        "call them once an epoch had nothing lasting to learn; they now draw from one distribution.",
        "`heldout_control/gradient_reversal`: its loss really went to NaN; lr is 0.02 in place of 0.05.",
        "`heldout_numbers/where_does_not_hide_the_nan`: the gradient of log is finite below 0, so there was no NaN; it "
        "is sqrt now.",
        "Four programs of `heldout_other.py` called their fault by the name of a rule that there is not, and it is "
        "found under the name of another: `batches_sorted_by_class`, `last_micro_batches_cleared`, "
        "`epoch_scheduler_stepped_every_batch`, `pixels_divided_by_255_twice`. (For most others in that file there are "
        "rules now.)",
        "Consequences that were not foreseen are declared: weights-unchanged of `twelve_sigmoid_layers`, dead-relu of "
        "`two_stacked_layers_zeroed`, all-zero-gradient of `pixels_from_0_to_255`.",
    ),
    "blind": (),
}
"""What was wrong with programs themselves, by set. The figures of the first run are those before it was corrected."""

Found = Mapping[str, set[str]]
"""The rules that were reported, by program."""


class Count:
    """What was found in some programs, counted by rule."""

    def __init__(self, programs: Sequence[Program], found: Found) -> None:
        self.programs, self.found = programs, found
        self.detected, self.missed, self.false = Counter[str](), Counter[str](), Counter[str]()
        for program in programs:
            for rule in program.faults:
                (self.detected if rule in found[program.name] else self.missed)[rule] += 1
            for rule in found[program.name] - {*program.faults, *program.allowed}:
                self.false[rule] += 1

    def cell(self, rule: str) -> str:
        """Return a cell of the table: how often a rule's fault was found, and the false alarms."""
        total, false = self.detected[rule] + self.missed[rule], self.false[rule]
        parts = [f"{self.detected[rule]} of {total}"] * bool(total) + [f"{false} false"] * bool(false)
        return ", ".join(parts) or "-"

    @property
    def summary(self) -> str:
        """How many broken programs have been found out, and how many healthy ones were left in peace."""
        broken = [program for program in self.programs if program.faults]
        healthy = [program for program in self.programs if not program.faults]
        complete = sum(self.found[program.name] >= set(program.faults) for program in broken)
        quiet = sum(not self.found[program.name] for program in healthy)
        return (
            f"{len(self.programs)} programs; the fault is found in {complete} of {len(broken)} broken ones, "
            f"nothing in {quiet} of {len(healthy)} healthy ones."
        )


def tables() -> tuple[str, str]:
    """Run every program; return the tables of rules and of programs, as Markdown."""
    import torch

    from checks.corpus import corpus, findings_of
    from gradstep.checks.checker import all_checks

    torch.set_num_threads(1)  # the programs are too small for more
    found = {program.name: {each.rule for each in findings_of(program)} for program in corpus()}
    run = json.loads((Path(__file__).parent / "first_run.json").read_text())
    first = {name: set(each["found"]) for name, each in run.items()}
    sets = {
        "tuned on": [program for program in corpus() if not program.held_out and not program.blind],
        "held out": [program for program in corpus() if program.held_out],
        "blind": [program for program in corpus() if program.blind],
    }
    counts = {"tuned on": Count(sets["tuned on"], found)}
    for name, corrections in CORRECTIONS.items():
        declared = [
            each._replace(faults=tuple(run[each.name]["faults"]), allowed=tuple(run[each.name]["allowed"]))
            for each in sets[name]
            if each.name in run
        ]
        counts[f"{name}, first run"] = Count(declared, first)
        corrected = f" and {len(corrections)} corrections" if corrections else ""
        counts[f"{name}, after fixes{corrected}"] = Count(sets[name], found)
    severities = {name: check.rule.severity for name, check in all_checks().items()}
    declared_faults = {rule for count in counts.values() for program in count.programs for rule in program.faults}
    severities.update(dict.fromkeys(sorted(declared_faults - severities.keys()), "no rule"))
    lines = [
        *(f"- {name}: {count.summary}" for name, count in counts.items()),
        "",
        "| rule | severity | tuned on | held out, first run | held out, after fixes | blind, first run "
        "| blind, after fixes |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(
            f"| `{rule}` | {severity} | {' | '.join(count.cell(rule) for count in counts.values())} |"
            for rule, severity in severities.items()
        ),
    ]
    programs_lines = [
        "# What the checks find, program by program",
        "",
        "Written by `python tests/checks/table.py`. The faults of a program are those that it was written to have.",
        "For the held-out programs (`heldout_...`) and the blind ones (`blind_...`), what the first run found is",
        "listed too.",
        "",
        "Programs that were themselves wrong, and have been corrected since the first run:",
        "",
        *(f"- {each}" for corrections in CORRECTIONS.values() for each in corrections),
        "",
        "| program | faults | found | found in the first run |",
        "| --- | --- | --- | --- |",
    ]
    for program in corpus():
        wanted = ", ".join(program.faults) or "healthy"
        source = f" ({program.source})" if program.source else ""
        before = _listed(first[program.name]) if program.name in first else ""
        failed = ", ".join(run.get(program.name, {}).get("failed", ()))
        before += f" ({failed} failed)" if failed else ""
        programs_lines.append(f"| {program.name} | {wanted}{source} | {_listed(found[program.name])} | {before} |")
    return "\n".join(lines), "\n".join(programs_lines) + "\n"


def _listed(rules: set[str]) -> str:
    return ", ".join(sorted(rules)) or "nothing"


def main() -> None:
    """Write the tables."""
    rules, programs = tables()
    (Path(__file__).parent / "programs.md").write_text(programs, encoding="utf-8")
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    readme.write_text(f"{head}{BEGIN}\n{rules}\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
