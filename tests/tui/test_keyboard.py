"""Keys bound anew by the user's file: what it may say, what is wrong with it, and that everything follows it."""

from __future__ import annotations

import asyncio
import tomllib
from pathlib import Path

import pytest
from stage import stage
from textual.keys import _character_to_key

from gradstep import cli
from gradstep.tui.commands.palette import entries
from gradstep.tui.commands.screen_commands import SCREEN_COMMANDS
from gradstep.tui.keys.help import help_lines
from gradstep.tui.keys.keyboard import Keyboard
from gradstep.tui.keys.keymap import KEYMAP
from gradstep.tui.keys.keys_file import keys_path, keys_text, read_keyboard
from gradstep.tui.keys.names import key_name, written

LOADED = ["load mlp seed=0", "show 2.weight[0, 0:10]"]


def read(tmp_path: Path, text: str) -> tuple[Keyboard, list[str]]:
    path = tmp_path / "keys.toml"
    path.write_text(text)
    keyboard, faults = read_keyboard(path)
    return keyboard, [fault.removeprefix(f"{path}:") for fault in faults]


def test_no_two_keys_of_the_table_are_the_same():
    pressed = [one for key in KEYMAP for one in key.keys.split(",")]
    assert sorted(set(pressed)) == sorted(pressed)
    assert sorted({key.id for key in KEYMAP}) == sorted(key.id for key in KEYMAP)


@pytest.mark.parametrize("character", [*map(chr, range(32, 127)), "é", "§"])
def test_a_character_has_the_name_that_textual_gives_it(character):
    assert key_name(character) == _character_to_key(character)


def test_every_key_of_the_table_is_written_as_what_it_is_read_from():
    for key in KEYMAP:
        for pressed in key.keys.split(","):
            assert key_name(written(pressed)) == pressed
    assert key_name("Esc") == "escape"
    assert key_name("ctrl++") == "ctrl+plus"
    assert key_name("shift+ctrl+F5") == "ctrl+shift+f5"
    assert [key_name(text) for text in ("spce", "hyper+x", "ctrl+", "ctrl+ctrl+x+")] == ["", "", "", ""]


def test_the_printed_table_is_a_file_that_changes_nothing(tmp_path):
    text = keys_text(Keyboard())
    keyboard, faults = read(tmp_path, text)
    assert (keyboard.changed, faults) == ({}, [])
    changed, _ = read(tmp_path, text.replace('forward = "f"', "forward = 'E \\'"))
    again, faults = read(tmp_path, keys_text(changed))
    assert (again.changed, faults) == ({"forward": "E,backslash"}, [])
    assert tomllib.loads(text)["go_on"] == "c f5"


def test_what_is_wrong_is_said_with_its_line_and_the_nearest_id_and_the_rest_holds(tmp_path):
    keyboard, faults = read(
        tmp_path,
        'forwad = "E"\n\n# a comment\nforward = "E spce"  # another\nnext_batch = "E"\nquit\nstep = "z"\nstep = "x"\n',
    )
    assert faults == [
        "1: there is no id forwad. Did you mean `forward`?",
        "4: there is no key spce: it is ignored for forward",
        "5: E is already bound to forward on line 4",
        '6: not a binding: write an id and its keys, such as next_batch = "n"',
        "7: z moves from zero_grad to step: zero_grad is now unbound",
        "8: step is already bound on line 7",
    ]
    assert keyboard.key("forward").shown == "E"
    assert keyboard.key("next_batch").shown == "n"
    assert keyboard.of("z") == keyboard.key("step")
    assert keyboard.key("zero_grad").keys == ""


def test_the_file_is_toml_escapes_quoted_ids_and_tables_included(tmp_path):
    keyboard, faults = read(
        tmp_path, '"forward" = "\\u0045"\nstep = \'\\\'\n[keys]\nquit = 3\nundo.one = "x"\n"" = "x"\n'
    )
    assert [keyboard.key(name).shown for name in ("forward", "step")] == ["E", "\\"]
    unreadable = 'not a binding: write an id and its keys, such as next_batch = "n"'
    assert faults[:3] == [f"{line}: {unreadable}" for line in (3, 4, 5)]
    assert faults[3].startswith("6: there is no ")


def test_two_keys_can_be_exchanged_and_one_taken_away(tmp_path):
    keyboard, faults = read(tmp_path, 'forward = "b"\nbackward = "f"\nquit = ""\ndown = "down"\n')
    assert faults == []
    assert [keyboard.key(name).shown for name in ("forward", "backward", "quit", "down")] == ["b", "f", "", "↓"]


def test_a_file_that_cannot_be_read_leaves_every_key_as_it_is(tmp_path):
    (tmp_path / "keys.toml").mkdir()
    keyboard, [fault] = read_keyboard(tmp_path / "keys.toml")
    assert keyboard.changed == {}
    assert "keys.toml" in fault
    assert read_keyboard(tmp_path / "none.toml")[1] == []


def test_the_file_is_found_where_xdg_says(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert keys_path() == tmp_path / "gradstep" / "keys.toml"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert keys_path() == tmp_path / "home" / ".config" / "gradstep" / "keys.toml"


def test_gradstep_keys_prints_the_keys_and_what_is_wrong(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert cli.main(["keys"]) == 0
    assert 'forward = "f"' in capsys.readouterr().out
    (tmp_path / "gradstep").mkdir()
    (tmp_path / "gradstep" / "keys.toml").write_text('forward = "E"\nnonsense = "x"\n')
    assert cli.main(["keys"]) == 2
    out, err = capsys.readouterr()
    assert 'forward = "E"' in out
    assert "keys.toml:2: there is no id nonsense" in err


def test_keys_footer_path_titles_help_and_palette_follow(tmp_path):
    keyboard, faults = read(
        tmp_path,
        'forward = "E"\nbackward = "f"\nnatural = "enter"\nchoose = ""\ngraph = "g"\ntensor_element = ""\nquit = "Q"\n',
    )
    assert len(faults) == 0

    async def test():
        async with stage(keyboard=keyboard) as s:
            assert "E forward" in s.rows()[1]
            assert "enter  forward" in s.rows()[1]
            assert "enter next" in s.rows()[-1]
            assert "Q quit" in s.rows()[-1]
            await s.press("E", "f", "b", "enter")
            assert s.session.lines() == [*LOADED, "forward", "backward", "step"]
            await s.press("g")
            assert s.screen.focus_panel.title == "Graph"
            names = [entry.name for entry in entries(s.screen)]
            assert "forward  (E)" in names
            assert "choose" in names
            await s.press("f12", "question_mark")
            assert "E           run the forward" in s.text()
            await s.press("escape", "2", "E")
            assert s.session.lines()[5:] == ["forward"], "the phases take no count"

    asyncio.run(asyncio.wait_for(test(), 60))
    assert "10 enter repeats it ten times" in " ".join(line.plain for line in help_lines(120, keyboard))


def test_what_is_wrong_with_the_file_stands_on_the_footer_until_a_key_is_pressed():
    async def test():
        async with stage() as s:
            s.screen.opening.show_faults(["keys.toml:1: there is no forwad.", "keys.toml:2: there is no bakward."])
            s.screen.footer.redraw()
            await s.idle()
            assert "keys.toml:1: there is no forwad.   (1 more fault in Log)" in s.rows()[-1]
            await s.press("f")
            assert "keys.toml" not in s.rows()[-1]
            assert "keys.toml:2" in "\n".join(entry.text for entry in s.screen.log_panel.entries)

    asyncio.run(asyncio.wait_for(test(), 60))


def test_every_key_and_command_of_the_screen_has_one_handler_and_no_handler_is_without():
    async def test():
        async with stage() as s:
            assert set(s.screen._keys) == {key.id for key in KEYMAP}
            handled = [key for controller in s.screen.controllers for key in controller.handles()]
            assert len(handled) == len(set(handled))
            typed = {word for controller in s.screen.controllers for word in controller.commands()}
            assert typed - set(SCREEN_COMMANDS) == {"save!", "q", "?", "try"}
            assert set(SCREEN_COMMANDS) <= typed

    asyncio.run(test())
