"""The report of a script that ran without a screen, as a sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from gradstep.sheets.html import html
from gradstep.sheets.loss import loss_sheet
from gradstep.sheets.sheet import Block, Cell, Preformatted, Sheet, Table, Words, norm_cell
from gradstep.values.views import LossPoint, LossView

_POINTS = 600
"""Points of the loss curve."""
_SPARK = 24
_BLOCKS = "▁▂▃▄▅▆▇█"


def report_page(report: Mapping[str, Any]) -> str:
    """Return a report as a self-contained HTML page."""
    title = escape(f"{report['script']}: {report['verdict']}")
    style = "body{font:15px system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}"
    body = "".join(html(sheet) for sheet in report_sheets(report))
    head = f'<meta charset="utf-8"><meta name="color-scheme" content="light dark"><title>{title}</title>'
    return f"<!doctype html><html><head>{head}<style>{style}</style></head><body>{body}</body></html>\n"


def report_sheets(report: Mapping[str, Any]) -> list[Sheet]:
    """Return a report: the verdict, the findings, the loss, the phases and times, the layers."""
    return [
        Sheet(f"gradstep run {report['script']}", "", tuple(_verdict(report))),
        _findings(report["findings"]),
        loss_sheet(_loss(report["losses"])),
        Sheet("Phases", "", (_phases(report), _times(report))),
        Sheet("Layers", _about_layers(report["sampled"]), (_layers(report["layers"]),)),
    ]


def _verdict(report: Mapping[str, Any]) -> list[Block]:
    facts = [
        f"exit code {report['exit_code']}",
        f"{report['iterations']:,} iterations in {report['seconds']:.2f} s",
        f"{report['parameters']:,} parameters on {report['device'] or 'no device'}",
        f"torch {report['torch']}, Python {report['python']}",
    ]
    bad = report["problem"] is not None or report["exit_code"] != 0
    blocks: list[Block] = [Words(report["verdict"], "bad" if bad else "bright"), Words(", ".join(facts), "dim")]
    problem = report["problem"]
    if problem is not None:
        frames: list[str] = []
        for each in problem["frames"]:
            frames += [f"{each['file']}:{each['line']} {each['function']}", f"    {each['text']}"]
        blocks += [Preformatted((*frames, problem["what"]))]
        blocks += [Words(problem["remedy"])] if problem["remedy"] else []
    return blocks


def _findings(findings: Sequence[Mapping[str, Any]]) -> Sheet:
    """Return what the checks have found, each in its three sentences."""
    blocks: list[Block] = []
    for each in findings:
        where = each["where"]
        file = where.get("file", "").rpartition("/")[2]
        place = [where.get("parameter") or where.get("module", ""), f"{file}:{where['line']}" if file else ""]
        seen = (
            f"iteration {each['iteration']}"
            if each["count"] == 1
            else f"iterations {each['iteration']} to {each['last']}"
        )
        head = ", ".join(filter(None, [f"{each['severity']} {each['rule']}", *place, seen]))
        blocks += [Words(head, "bad" if each["severity"] == "error" else "bright"), Words(each["what"])]
        blocks += [Words(each["why"]), Words(each["remedy"])]
    return Sheet("Findings", "" if blocks else "none", tuple(blocks))


def _loss(losses: Sequence[Sequence[Any]]) -> LossView:
    points = [
        LossPoint(place, iteration, loss) for place, (iteration, loss) in enumerate(losses, 1) if loss is not None
    ]
    every = max(1, -(-len(points) // _POINTS))
    shown = [p for i, p in enumerate(points) if i % every == 0 or p.loss - p.loss != 0 or i == len(points) - 1]
    nan = next((p for p in points if p.loss != p.loss), None)
    inf = next((p for p in points if p.loss in (float("inf"), float("-inf"))), None)
    note = "" if points else "No loss: no backward ran."
    return LossView(0, tuple(shown), len(points), note, first_nan=nan, first_inf=inf)


def _phases(report: Mapping[str, Any]) -> Table:
    rows = [(Cell(" → ".join(each["order"])), Cell(f"{each['iterations']:,}")) for each in report["phases"]]
    return Table(("order in an iteration", "iterations"), tuple(rows))


def _times(report: Mapping[str, Any]) -> Table:
    total = report["seconds"] or 1.0
    counts = report["counts"]
    rows = [
        (
            Cell("between phases" if name == "between" else name),
            Cell(f"{counts[name]:,}" if name in counts else ""),
            Cell(f"{seconds:.3f} s"),
            Cell(f"{100 * seconds / total:.1f} %"),
            Cell(bar=seconds / total),
        )
        for name, seconds in sorted(report["time"].items(), key=lambda each: -each[1])
    ]
    return Table(("phase", "runs", "time", "share", ""), tuple(rows), left=(0, 4))


def _about_layers(sampled: Sequence[int]) -> str:
    if not sampled:
        return "no optimizer step was seen"
    return f"{len(sampled):,} samples, iterations {sampled[0]:,} to {sampled[-1]:,}; last value and course of each"


def _layers(layers: Sequence[Mapping[str, Any]]) -> Table:
    head = ("parameter", "shape", "norm", ".grad norm", "", "update / weight", "")
    rows = []
    for each in layers:
        update = _last(each["update_ratio"])
        rows.append(
            (
                Cell(each["name"]),
                Cell("×".join(map(str, each["shape"])) or "scalar"),
                norm_cell(_last(each["weight_norm"])),
                norm_cell(_last(each["grad_norm"])),
                Cell(_spark(each["grad_norm"])),
                Cell("" if update is None else f"{update:.2e}"),
                Cell(_spark(each["update_ratio"])),
            )
        )
    return Table(head, tuple(rows), left=(0, 4, 6))


def _last(series: Sequence[float | None]) -> float | None:
    return next((value for value in reversed(series) if value is not None), None)


def _spark(series: Sequence[float | None]) -> str:
    """Draw a series in a few characters: the greatest of each part, `N` for one that is not finite."""
    values = [value for value in series if value is not None]
    finite = [value for value in values if value - value == 0]
    most = max(finite, default=0.0)
    size = max(1, -(-len(values) // _SPARK))
    line = ""
    for start in range(0, len(values), size):
        part = values[start : start + size]
        odd = any(value - value != 0 for value in part)
        line += "N" if odd else _BLOCKS[min(7, int(max(part) / most * 8))] if most else _BLOCKS[0]
    return line
