"""The panel *Why*: what the last command changed and left unchanged, errors, and loading progress."""

from __future__ import annotations

from typing import Any, NamedTuple

from msgspec.structs import replace

from gradstep.tui.keys.keyboard import DEFAULT_KEYS, Keyboard
from gradstep.tui.panels.formulas import are_ways, formula_rows
from gradstep.tui.panels.panel import Panel
from gradstep.tui.render.copying import Copied
from gradstep.tui.render.drawing import GUTTER, Drawing, paragraph
from gradstep.tui.render.lines import Line, Row, Span, clean, fit, text_line
from gradstep.tui.render.markdown import markdown_lines
from gradstep.values import numbers
from gradstep.values.commands import Expect, Print, Say, line_of
from gradstep.values.expressions import expression_line
from gradstep.values.outcomes import Frame, Outcome, Problem, WatchHit
from gradstep.values.views import LookWhy, NoView, Request, View, WhyView


class Stage(NamedTuple):
    """A stage of loading and its duration in seconds."""

    name: str
    seconds: float


class News(NamedTuple):
    """What the panel shows: the narration, and below it stages, else a problem, else the view."""

    view: WhyView | NoView | None = None
    outcome: Outcome | None = None
    stages: tuple[Stage, ...] = ()
    """The stages of loading in progress, the current one last."""
    heard: tuple[str, ...] = ()
    """The last lines that the user's code printed during loading."""
    question: str = ""
    """A question about a stage that takes long, or that prints."""
    notice: str = ""
    """A message of the screen itself, e.g. the result of a restart."""
    fault: Problem | None = None
    """The error in a typed line that is not a command."""
    ways_out: str = ""
    """What the user can do after a failed load."""
    said: str = ""
    """The narration: the last `say` with those right before it, as one text."""
    whole: bool = False
    """True to show every frame of a traceback, not only those of user code."""
    keyboard: Keyboard = DEFAULT_KEYS

    @property
    def problem(self) -> Problem | None:
        """The last error; None for none."""
        return self.fault or (self.outcome.problem if self.outcome is not None else None)


def draw(news: News, width: int, height: int, first: int = 0) -> Drawing:
    """Draw the news from its row `first` on."""
    lines = _lines(news, width)
    total = len(lines)
    if total > height and not news.whole and not first:
        lines = _lines(news, width, total - height)
    first = max(0, min(first, len(lines) - height))
    shown = lines[first : first + max(height, 0)]
    return Drawing(_about(news), shown, total, first, len(shown))


def _tone(line: Line) -> str:
    """Return the tone of the first text of a row."""
    return next((span.tone for span in line.spans if span.text.strip()), "text")


def rows(news: News, width: int) -> int:
    """Return the number of rows of the news at a width."""
    return len(_lines(news, width))


def sentence_rows(news: News, width: int) -> int:
    """Return the number of rows of the narration and the sentence on the last command at a width."""
    sentence = len(paragraph(news.view.sentence, width)) if isinstance(news.view, WhyView) else 0
    return said_rows(news, width) + sentence


def said_rows(news: News, width: int) -> int:
    """Return the number of rows of the narration at a width."""
    return len(narration_lines(news.said, width))


def _about(news: News) -> str:
    if news.stages:
        return f"{sum(stage.seconds for stage in news.stages):.1f} s"
    outcome = news.outcome
    if news.fault is not None:
        return ""
    if outcome is not None and outcome.problem is not None:
        return clean(line_of(outcome.command))
    if outcome is not None and isinstance(outcome.command, Say):
        return "say"
    return clean(news.view.element or news.view.about) if isinstance(news.view, WhyView) else ""


def _lines(news: News, width: int, spare: int = 0) -> list[Line]:
    """Return all rows, shortened by up to `spare` rows."""
    lines = narration_lines(news.said, width)
    lines += paragraph(news.notice, width, "bright") if news.notice else []
    if news.stages:
        return lines + _stages(news, width)
    outcome, told = news.outcome, list[str]()
    if news.problem is not None:
        problem = news.problem
        if news.ways_out:
            remedy = f"{problem.remedy.rstrip('. ')}. " if problem.remedy else ""
            problem = replace(problem, remedy=remedy + news.ways_out)
        return lines + problem_lines(problem, width, news.whole, spare, news.keyboard)
    if outcome is not None and isinstance(outcome.command, Say):
        return lines
    if outcome is not None:
        # a notice says itself what a watchpoint saw
        for hit in () if news.notice else outcome.watches:
            lines += paragraph(hit_words(hit), width, "bright")
        told = printed(outcome)
        lines += [line for text in told for line in paragraph(text, width, "bright")]
    if outcome is not None and isinstance(outcome.command, Expect):
        return lines
    if isinstance(news.view, WhyView):
        once = any(text.rstrip(".") == news.view.sentence.rstrip(".") for text in told)
        said = [] if once else paragraph(news.view.sentence, width, "bright" if not lines else "text")
        formulas = formula_rows(news.view.lines, width)
        # the notice already says what stopped it
        left = [text for text in news.view.more if text.removeprefix("stopped by ") not in (news.notice or "\n")]
        more = [line for text in left for line in paragraph(text, width)]
        # where the gradients go matters more than the end of a long sentence
        lines += _shortened(said, spare - len(more) if are_ways(news.view.lines) else 0, width) + formulas + more
    elif news.view is not None and not lines:
        lines += paragraph(news.view.why, width, "dim")
    return lines


def narration_lines(text: str, width: int) -> list[Line]:
    """Draw narration with a bar beside it; [] for none."""
    bar = (Span("│", "key"), Span(" " * (GUTTER - 1)))
    return [line._replace(spans=(*bar, *line.spans[1:])) for line in markdown_lines(text, width)] if text else []


def hit_words(hit: WatchHit) -> str:
    """Return the change that a watchpoint saw."""
    return f"watch {hit.number}: {hit.line} changed from {hit.before} to {hit.after}"


def printed(outcome: Outcome) -> list[str]:
    """Return what a command printed, a value with its expression: `lr = 0.01`; for an expectation, that it holds."""
    if isinstance(outcome.command, Expect):
        return [f"✓ holds: {line_of(outcome.command).removeprefix('expect ')}"] if outcome.ok else []
    texts = outcome.text.splitlines()
    if not isinstance(outcome.command, Print) or not texts:
        return texts
    label = f"{expression_line(outcome.command.value)} ="
    return [f"{label} {texts[0]}"] if len(texts) == 1 else [label, *texts]


def _stages(news: News, width: int) -> list[Line]:
    """Draw the current stage first, so that a low panel shows it, then the earlier ones."""
    *past, now = news.stages
    waiting = "Keys that you press meanwhile are queued and run in order."
    lines = [Row(width).add("▶", "now").left(GUTTER, f"{clean(now.name)}  {now.seconds:.1f} s", "bright").line()]
    lines += paragraph(news.question, width) if news.question else []
    lines += [Row(width).left(GUTTER, f"│ {clean(text)}", "dim").line() for text in news.heard]
    if past:
        done = "   ".join(f"✓ {clean(stage.name)} {stage.seconds:.1f} s" for stage in past)
        lines += paragraph(done, width, "dim")
    return lines + paragraph(waiting, width, "dim")


def problem_lines(
    problem: Problem, width: int, whole: bool = False, spare: int = 0, keyboard: Keyboard = DEFAULT_KEYS
) -> list[Line]:
    """Draw a problem: title, what happened, remedy, and the frames of user code.

    Args:
        problem: the problem.
        width: columns.
        whole: every frame, not only those of user code.
        spare: rows to cut from what happened, of which one stays, so that the remedy is visible.
        keyboard: the key bindings.
    """
    lines = paragraph(f"✗ {problem.title}", width, "bad", GUTTER)
    what = paragraph(problem.what, width) if problem.what else []
    lines += _shortened(what, spare, width)
    compared = [("expected", problem.expected), ("actual", problem.actual), ("difference", problem.difference)]
    # short texts first: of many numbers only their difference is short
    for name, text in sorted(compared, key=lambda pair: pair[1].count("\n") > 0):
        if text:
            lines += paragraph(f"{name:<11} {text}", width)
    lines += paragraph(problem.remedy, width, "bright") if problem.remedy else []
    frames = problem.frames if whole else tuple(frame for frame in problem.frames if frame.user)
    for frame in frames:
        lines += _frame(frame, width)
    hidden = len(problem.frames) - len(frames)
    if hidden:
        more = numbers.count(hidden, "more frame")
        key = keyboard.named("traceback")
        lines += paragraph(f"{more} outside your code: {key} shows the whole traceback", width, "dim")
    return lines


def _shortened(rows: list[Line], spare: int, width: int) -> list[Line]:
    """Return `spare` rows fewer, at least one, ending in `…`."""
    kept = max(1, len(rows) - max(0, spare))
    if kept >= len(rows):
        return rows
    last = rows[kept - 1]
    return [*rows[: kept - 1], text_line(fit(f"{last.plain.strip()} …", width - GUTTER - 1), width, _tone(last))]


def _frame(frame: Frame, width: int) -> list[Line]:
    where = f"{clean(frame.file)}:{frame.line}"
    row = Row(width).left(GUTTER, where, "text" if frame.user else "dim").add(f"  {clean(frame.function)}", "dim")
    return [row.add(f"   {clean(frame.text).strip()}", "code" if frame.user else "dim").line()]


class WhyPanel(Panel[NoView]):
    """The sentence on the last command, and the arithmetic of the element under the cursor of Tensor."""

    title = "Why"
    help_text = (
        "What the last phase changed and what it left unchanged; then the arithmetic of the element under the "
        "cursor of Tensor, each formula with its numbers."
    )

    def __init__(self) -> None:
        super().__init__("why")
        self.news = News()
        self.element: tuple[int, ...] | None = None
        """The element that it is about: an index into the whole tensor, None for the first of the selection."""

    def request(self) -> Request:
        """Return the request for its view."""
        return LookWhy(self.element)

    def assign(self, view: View) -> None:
        """Take the view that was requested."""
        if isinstance(view, WhyView | NoView):
            self.tell(view=view)

    def copied(self) -> Copied | None:
        """Return the formulas with their numbers, or the sentence if there are none."""
        view = self.news.view
        if not isinstance(view, WhyView) or self.news.problem is not None:
            return None
        lines = [" = ".join(filter(None, [line.name, line.formula, line.numbers, line.result])) for line in view.lines]
        return Copied(f"why {view.element}", "\n".join(lines)) if lines else Copied("why", view.sentence)

    def tell(self, **changes: Any) -> None:
        """Change fields of the news, and scroll to its start."""
        self.news = self.news._replace(keyboard=self.keyboard, **changes)
        self.first = 0

    def draw(self, width: int, height: int) -> Drawing:
        """Draw the body."""
        return draw(self.news, width, height, self.first)
