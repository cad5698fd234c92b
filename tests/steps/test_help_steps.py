from __future__ import annotations

from gradstep.engine.expressions.evaluate import FUNCTIONS
from gradstep.steps import help_text
from gradstep.steps.language.parse import parse_script
from gradstep.steps.language.words import SYNTAX, WORDS
from gradstep.values.commands import SETTINGS


def examples() -> str:
    """Return the indented lines of the page, without those that are typed at a shell."""
    lines = [line[4:] for line in help_text().split("\n") if line.startswith("    ")]
    return "\n".join(line for line in lines if not line.startswith(("gradstep ", "pytest ")))


def test_every_example_of_the_page_parses() -> None:
    assert len(parse_script(examples(), "help.steps").statements) > 25


def test_every_command_option_and_setting_is_on_the_page() -> None:
    text = examples()
    for word in WORDS:
        assert f"\n{word.word}" in f"\n{text}"
    assert all(f"{name}=" in text for syntax in SYNTAX.values() for form in syntax.forms for name in form.options)
    assert all(f"set {name} =" in text for name in SETTINGS)


def test_every_function_is_on_the_page() -> None:
    assert [name for name in FUNCTIONS if f"{name}(" not in help_text()] == []
