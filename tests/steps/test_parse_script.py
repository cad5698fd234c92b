from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradstep.steps.language.faults import ScriptError
from gradstep.steps.language.parse import parse_line, parse_script, read_script
from gradstep.steps.language.script import ExpectError, Repeat, StepsLine
from gradstep.steps.language.words import BY_WORD, WORDS
from gradstep.values import commands as c


def faults(text: str) -> list[tuple[int, int, str]]:
    with pytest.raises(ScriptError) as error:
        parse_script(text, "a.steps")
    return [(f.line, f.column, f.title) for f in error.value.faults]


def fault(line: str) -> tuple[str, str, str]:
    """Return the title, the remedy, and the part of the line that the caret stands under."""
    with pytest.raises(ScriptError) as error:
        parse_line(line)
    (one,) = error.value.faults
    return one.title, one.remedy, one.source[one.column - 1 : one.column - 1 + one.width]


def test_statements_know_their_place() -> None:
    script = parse_script("# first\nload mlp; forward\n\n  repeat 2 {\n    say a } b # c\n    step }\n", "x/a.steps")
    load, forward, repeat = script.statements
    assert isinstance(load, StepsLine)
    assert (load.number, load.column, load.text) == (2, 1, "load mlp")
    assert forward == StepsLine(c.Forward(), 2, "forward", 11)
    assert isinstance(repeat, Repeat)
    assert repeat.count == 2
    assert repeat.body == (StepsLine(c.Say("a } b # c"), 5, "say a } b # c", 5), StepsLine(c.Step(), 6, "step", 5))


def test_load_looks_beside_the_script(tmp_path: Path) -> None:
    (tmp_path / "a.steps").write_text("load model.py:make seed=3\n")
    (line,) = read_script(str(tmp_path / "a.steps")).statements
    assert line == StepsLine(c.Load("model.py:make", 3, "auto", str(tmp_path)), 1, "load model.py:make seed=3")


def test_one_line_and_several_are_the_same_block() -> None:
    (one,) = parse_line("repeat 3 { forward; backward }")
    (several,) = parse_line("repeat 3 {\n\n  forward # comment with }\n  backward;\n}")
    assert isinstance(one, Repeat)
    assert isinstance(several, Repeat)
    commands = [[s.command for s in block.body if isinstance(s, StepsLine)] for block in (one, several)]
    assert commands == [[c.Forward(), c.Backward()]] * 2


def test_expect_error_holds_its_text_and_commands() -> None:
    (block,) = parse_line('expect error "a \\"second\\" time" { backward; repeat 2 { step } }')
    assert isinstance(block, ExpectError)
    assert block.error == 'a "second" time'
    assert [type(s) for s in block.body] == [StepsLine, Repeat]


def test_quotes_protect_every_sign() -> None:
    assert [s.text for s in parse_line('print "a;b}c#d"; print `x;y{z`')] == ['print "a;b}c#d"', "print `x;y{z`"]


def test_windows_line_ends_and_a_byte_order_mark_are_no_matter() -> None:
    script = parse_script("\ufeffload mlp\r\nsay hi\r\n", "a.steps")
    assert [s.command for s in script.statements if isinstance(s, StepsLine)][1] == c.Say("hi")


def test_nothing_is_an_empty_script() -> None:
    assert parse_line("") == ()
    assert parse_line("  # only a comment") == ()


def test_every_usage_in_the_table_parses_to_its_word() -> None:
    for word in WORDS:
        (statement,) = parse_line(word.usage)
        first = "repeat" if isinstance(statement, Repeat) else c.line_of(statement.command).split()[0]
        assert first == word.word == next(iter(word.usage.split()))


@pytest.mark.parametrize(
    ("line", "title", "word", "remedy"),
    [
        ("forwad", "unknown command `forwad`", "forwad", "Did you mean `forward`?"),
        ("Forward", "unknown command `Forward`", "Forward", "Did you mean `forward`?"),
        ("backward retain=true", "`backward` has no option `retain`", "retain", "Did you mean `retain_graph`?"),
        ("step lr=1", "`step` has no option `lr`", "lr", "It takes no options."),
        ("backward retain_graph=yes", "`yes` is neither true nor false", "yes", "Write `true` or `false`."),
        ("load mlp seed=x", "`x` is not a whole number", "x", "Write digits only."),
        ("load mlp seed=1 seed=2", "`seed` is given twice", "seed", "Keep one of them."),
        ("load", "`load` ends too early", "", "It is written like this: load mlp seed=0 device=cpu"),
        ("expect loss >", "`expect` ends too early", "", "It is written like this: expect 2.weight.grad == 0"),
        ("expect loss = 0", "`=` is not a comparison", "=", "Write `==` to compare."),
        ("expect 1 < loss < 2", "comparisons do not chain", "<", "Join two of them with `and`."),
        ("expect loss is None", "`None` does not fit here", "None", "Did you mean `none`?"),
        ('print "abc', 'this " is never closed', '"abc', 'Add a " at its end.'),
        ("print `abc", "this ` is never closed", "`abc", "Add a ` at its end."),
        ('print "a\\qb"', "unknown escape", "\\q", "Write \\\\ for a \\."),
        ("let nan = 3", "`nan` cannot be a name", "nan", "Choose another."),
        ("repeat 0 { step }", "`repeat 0` does nothing", "0", "Repeat at least once, or comment it out with #."),
        ("repeat 2 { }", "the block is empty", "repeat 2", "Put a command between its braces."),
        ("repeat 2", "a block is missing", "", "It is written like this: repeat 5 { backward }"),
        (
            "forward { step }",
            "`forward` takes no block",
            "forward",
            "Only `repeat`, `expect error` and `try` take a block.",
        ),
        (
            "step; }",
            "this `}` closes nothing",
            "}",
            "Remove it, or open its block with `{` on the line of the `repeat`.",
        ),
        (
            "repeat 2 { step } step",
            "a statement follows a block on its line",
            "s",
            "Put it on the next line, or after a `;`.",
        ),
        ("set lr 0.5", "`set` needs an `=`", "0.5", "Did you mean `set lr = 0.5`?"),
        ("lr 0.5", "unknown command `lr`", "lr", "Did you mean `set lr = 0.5`?"),
        ("step=3", "`=` does not fit here", "=", "Did you mean `set step = 3`?"),
        ("undo = 3", "`=` does not fit here", "=", "Did you mean `undo 3`?"),
        ("load=mlp", "`=` does not fit here", "=", "Did you mean `load mlp`?"),
        ("2.weight[0] = 0", "unknown command `2.weight`", "2.weight", "Did you mean `set 2.weight[0] = 0`?"),
        ("print norm(a, p=1, b)", "an argument follows an option", "norm", "Put the options last."),
        ("print 99999999999999999999", "this number is too large", "9" * 20, ""),
    ],
)
def test_a_wrong_line_is_told_with_its_place_and_remedy(line: str, title: str, word: str, remedy: str) -> None:
    assert fault(line) == (title, remedy, word)


def test_every_wrong_line_is_reported() -> None:
    text = "load mlp\nforwad\nexpect loss >\nforward\nrepeat 2 {\n  setp\n  forward\n}\n}\nprint )\n"
    assert [line for line, _, _ in faults(text)] == [2, 3, 6, 9, 10]


def test_an_open_block_is_told_where_it_opens_and_hides_nothing() -> None:
    assert faults("load mlp\nrepeat 2 {\nsay forward }\nforwad\n") == [
        (2, 10, "this block is never closed"),
        (4, 1, "unknown command `forwad`"),
    ]


def test_the_report_shows_file_line_column_and_caret() -> None:
    with pytest.raises(ScriptError) as error:
        parse_script("load mlp\n\tstep; forwad\n", "lesson.steps")
    assert str(error.value).split("\n") == [
        "lesson.steps:2:8: unknown command `forwad`",
        "    \tstep; forwad",
        "    \t      ^^^^^^",
        "  Did you mean `forward`?",
    ]
    assert error.value.problem.kind == "wrong"
    assert error.value.problem.subject == "forwad"


def test_the_caret_stands_under_a_word_behind_wide_letters() -> None:
    with pytest.raises(ScriptError) as error:
        parse_line("print `重み` )")
    lines = str(error.value).split("\n")
    assert lines[2] == "    " + " " * len("print `") + "  " * 2 + " " * len("` ") + "^"


@pytest.mark.parametrize("depth", [200, 5_000, 100_000])
@pytest.mark.parametrize("pattern", ["(|1|)", "[|1|]", "not |1|", "-|1|", "abs(|1|)", "1+|1|", "2**|1|"])
def test_depth_is_bounded(depth: int, pattern: str) -> None:
    before, middle, after = pattern.split("|")
    with pytest.raises(ScriptError) as error:
        parse_line("print " + before * depth + middle + after * depth)
    (one,) = error.value.faults
    assert "nested too deeply" in one.title or "characters long" in one.title


def test_depth_of_blocks_is_bounded() -> None:
    with pytest.raises(ScriptError, match="blocks are nested too deeply"):
        parse_line("repeat 2 { " * 5_000 + "step" + " }" * 5_000)


@settings(max_examples=300)
@given(st.lists(st.sampled_from([*'{};#"`\n\\ ()[]=.:,ab01', *BY_WORD, "error"]), max_size=40).map("".join))
def test_any_text_parses_or_is_a_script_error(text: str) -> None:
    places = [(1, 1)]
    try:
        parse_script(text, "a.steps")
    except ScriptError as error:
        places = [(f.line, f.column) for f in error.faults]
    lines = text.split("\n")
    assert all(1 <= line <= len(lines) and 1 <= column <= len(lines[line - 1]) + 1 for line, column in places)


def test_a_script_that_cannot_be_read_is_a_script_error(tmp_path: Path) -> None:
    (tmp_path / "bytes.steps").write_bytes(b"\xff\xfe\x00")
    for path, why in [("none.steps", "no such file"), ("bytes.steps", "UTF-8"), (".", "directory")]:
        with pytest.raises(ScriptError, match=why) as raised:
            read_script(str(tmp_path / path))
        assert str(raised.value).startswith(f"{tmp_path / path}: ")
        assert "^" not in str(raised.value)


def test_start_up_imports_no_parser() -> None:
    modules = "runner replay headless report record jsonlines pytest_plugin"
    modules += "".join(f" language.{each}" for each in ("parse", "complete", "words", "faults", "script"))
    code = f"import sys\nfor m in {modules.split()!r}: __import__('gradstep.steps.' + m)\n"
    code += "print([m for m in ('lark', 'torch', 'textual', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
