"""The tables of what the checks find over the corpus: `python tests/checks/table.py` writes them.

One line a rule goes into the README, one line a program into `programs.md` beside this file.

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


def tables() -> tuple[str, str]:
    """Run every program; return the tables of rules and of programs, as Markdown."""
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
    ]
    programs_lines = [
        "# What the checks find, program by program",
        "",
        "Written by `python tests/checks/table.py`. The faults of a program are those that it was written to have.",
        "",
        "| program | faults | found |",
        "| --- | --- | --- |",
    ]
    for program in programs:
        wanted = ", ".join(program.faults) or "healthy"
        source = f" ({program.source})" if program.source else ""
        reported = ", ".join(sorted(found[program.name])) or "nothing"
        programs_lines.append(f"| {program.name} | {wanted}{source} | {reported} |")
    return "\n".join(lines), "\n".join(programs_lines) + "\n"


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
