"""The table of what the checks find over the corpus, for the README: `python tests/checks/table.py` writes it there.

Per rule: in how many of the programs that have its fault it was found, and in how many others it was reported. Programs
where a rule's finding is a consequence of another fault count neither way.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests")]
BEGIN, END = "<!-- checks: begin -->", "<!-- checks: end -->"


def table() -> str:
    """Run every program and return the table, as Markdown."""
    from checks.corpus import corpus, findings_of
    from gradstep.checks.checker import all_checks

    programs = corpus()
    found = {program.name: {each.rule for each in findings_of(program)} for program in programs}
    detected, missed, false = Counter[str](), Counter[str](), Counter[str]()
    for program in programs:
        for rule in program.faults:
            (detected if rule in found[program.name] else missed)[rule] += 1
        for rule in found[program.name] - {*program.faults, *program.allowed}:
            false[rule] += 1
    healthy = [program for program in programs if not program.faults]
    rows = []
    for name, check in all_checks().items():
        total = detected[name] + missed[name]
        rows.append(f"| `{name}` | {check.rule.severity} | {detected[name]} of {total} | {false[name]} |")
    quiet = sum(not found[program.name] for program in healthy)
    lines = [
        f"{len(programs)} programs: {len(programs) - len(healthy)} broken, {len(healthy)} healthy, "
        f"of which {quiet} raise nothing at all.",
        "",
        "| rule | severity | found | false alarms |",
        "| --- | --- | --- | --- |",
        *rows,
        "",
        "<details><summary>Program by program</summary>",
        "",
        "| program | faults | found |",
        "| --- | --- | --- |",
    ]
    for program in programs:
        wanted = ", ".join(program.faults) or "healthy"
        source = f" ({program.source})" if program.source else ""
        lines.append(f"| {program.name} | {wanted}{source} | {', '.join(sorted(found[program.name])) or 'nothing'} |")
    return "\n".join([*lines, "", "</details>"])


def main() -> None:
    """Write the table into the README."""
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    readme.write_text(f"{head}{BEGIN}\n{table()}\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
