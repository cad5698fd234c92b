"""The command line: what it refuses, with which message and exit code, before a screen opens and before torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gradstep import cli
from gradstep.examples import EXAMPLES


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run the command line, assert that it says 2, and return what it wrote to standard error."""
    try:
        status = cli.main(arguments)
    except SystemExit as end:
        status = end.code
    out, err = capsys.readouterr()
    assert status == 2
    assert out == ""
    return " ".join(err.split())


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of a training script with two functions, in the working directory."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "train.py"
    path.write_text(
        "import torch\n\ndef make_model(): ...\n\ndef train(): ...\n\nif __name__ == '__main__':\n    train()\n"
    )
    return path


def test_an_unknown_example_gets_the_nearest_name(capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(["mlq"], capsys)
    assert "there is no example called mlq" in said
    assert "Did you mean `mlp`?" in said
    assert ", ".join(EXAMPLES) in said


def test_a_training_script_is_opened_without_a_factory(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "needs a terminal" in refused(["train.py", "--epochs", "3"], capsys)


def test_a_script_seeds_itself(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "sets its own seed and device" in refused(["--seed", "3", "train.py"], capsys)


def test_another_interpreter_is_for_scripts_and_is_checked(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--python takes a training script" in refused(["--python", sys.executable, "mlp"], capsys)
    assert "no/python is not a program" in refused(["--python", "no/python", "train.py"], capsys)
    script.with_name("held.steps").write_text("load mlp\nforward\n")
    assert "--python takes a training script" in refused(["--python", sys.executable, "held.steps"], capsys)
    script.with_name("train.steps").write_text("# a test\nsay load\nrun train.py\n")
    assert "needs a terminal" in refused(["--python", sys.executable, "train.steps"], capsys)


def test_a_function_that_trains_is_not_a_factory(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(["train.py:train"], capsys)
    assert "this function is not a factory train in train.py returns nothing" in said
    assert "add one line before the loop, and run the script: gradstep.open(" in said


def test_a_command_with_a_slip_gets_the_right_word(capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(["repaly", "x.steps"], capsys)
    assert "x.steps is one argument too many" in said
    assert "Did you mean `replay`?" in said


def test_a_function_that_the_file_lacks_gets_the_nearest_name(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(["train.py:make_modle"], capsys)
    assert "there is no function make_modle in train.py" in said
    assert "Did you mean `make_model`?" in said
    assert "there is no function (no name)" in refused(["train.py:"], capsys)


@pytest.mark.parametrize(
    "line", ["build = make", "from x import build", "from x import *", "if True:\n  def build(): ..."]
)
def test_a_factory_may_come_from_anywhere_in_the_file(
    script: Path, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    script.write_text(line)
    assert "needs a terminal" in refused(["train.py:build"], capsys)


def test_files_that_are_missing_or_no_python_are_refused(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nowhere.py: no such file" in refused(["nowhere.py:f"], capsys)
    assert "nowhere.steps: no such file" in refused(["nowhere.steps"], capsys)
    script.write_text("def f(:\n")
    assert "train.py is not valid Python line 1: " in refused(["train.py:f"], capsys)


def test_a_module_is_looked_for_without_importing_it(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no module called nowhere" in refused(["nowhere.models:f"], capsys)
    assert "names no function" in refused(["./train:f"], capsys)
    assert "needs a terminal" in refused(["train:make_model"], capsys)
    assert "train" not in sys.modules


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "CPU", ""])
def test_a_bad_device_is_refused(device: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "use auto, cpu, cuda, cuda:N or mps" in refused(["mlp", "--device", device], capsys)


@pytest.mark.parametrize("seed", ["-1", "x", "1.5", str(2**64), "٣"])
def test_a_bad_seed_is_refused(seed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is not a seed: use an integer" in refused(["mlp", f"--seed={seed}"], capsys)


@pytest.mark.parametrize("size", ["120", "0x0", "19x40", "120x4", "99999x9", "axb", "-1x40"])
def test_a_bad_size_is_refused(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is not a size: use COLUMNSxROWS" in refused(["replay", "a.steps", f"--size={size}"], capsys)


def test_a_pipe_is_not_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Standard input is not a terminal." in refused(["mlp"], capsys)


@pytest.mark.parametrize("piped", ["out", "err"])
def test_a_piped_output_is_not_a_terminal(
    piped: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in {"in", "out", "err"} - {piped}:
        monkeypatch.setattr(getattr(sys, f"std{name}"), "isatty", lambda: True)
    said = "Standard output" if piped == "out" else "Standard error"
    assert f"{said} is not a terminal." in refused(["mlp"], capsys)


@pytest.mark.parametrize("name", ["dumb", ""])
def test_a_terminal_that_cannot_draw_is_refused(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", name)
    assert f"TERM is {name or 'not set'}" in refused([], capsys)


def test_record_writes_over_nothing(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("old.steps").write_text("forward")
    assert "already exists" in refused(["mlp", "--record", "old.steps"], capsys)
    assert "takes a .steps file" in refused(["mlp", "--record", "train.py"], capsys)
    assert "folder to record to does not exist" in refused(["mlp", "--record", "nowhere/a.steps"], capsys)


def test_last_stands_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--last takes no TARGET" in refused(["mlp", "--last"], capsys)
    assert "--last takes no TARGET" in refused(["--last", "-m", "train"], capsys)


def test_the_last_training_script_runs_in_its_folder_on_its_interpreter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "the project").mkdir()
    last = tmp_path / "gradstep" / "last.steps"
    last.parent.mkdir()
    last.write_text(f"# python: {tmp_path}/none\nrun -C '{tmp_path}/the project' train.py --lr 1\n")
    assert f"{tmp_path}/none is not a program" in refused(["--last"], capsys)
    assert Path.cwd() == tmp_path / "the project"
    last.write_text("run -C /no/where train.py\n")
    assert "the folder of the last session cannot be used" in refused(["--last"], capsys)


def test_the_last_session_keeps_its_own_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert "there is no last session" in refused(["--last"], capsys)
    (tmp_path / "gradstep").mkdir()
    (tmp_path / "gradstep" / "last.steps").write_text("load mlp seed=1")
    assert "--seed or --device was given with --last" in refused(["--last", "--seed", "2"], capsys)


def test_a_script_keeps_its_own_seed_and_device(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.steps").write_text("load mlp seed=1")
    for option in ("--seed=2", "--device=cpu"):
        said = refused(["a.steps", option], capsys)
        assert "a script sets its own seed" in said
        assert "gradstep replay a.steps" in said


def test_examples_are_listed_with_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["examples"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(EXAMPLES)
    assert lines[0].endswith(EXAMPLES["mlp"])


COMMANDS = ("run", "checks", "examples", "replay", "diff", "template", "keys", "help")


def helped(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == 0
    return capsys.readouterr().out


def test_help_names_every_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for arguments in (["--help"], ["help"]):
        out = helped(arguments, capsys)
        assert [word for word in COMMANDS if f"gradstep {word}" in out] == list(COMMANDS)
        assert max(map(len, out.splitlines())) <= 80


def test_help_says_what_holds_where_an_option_is_not_given(capsys: pytest.CaptureFixture[str]) -> None:
    screen, replay = (" ".join(helped([*words, "--help"], capsys).split()) for words in ([], ["replay"]))
    for default in ("(default: auto)", "(default: 0)", "(default: 1GiB)", "(default: 20%)"):
        assert default in screen
    assert screen.count("(default: the last one used)") == 2
    assert "the last one used" not in replay
    assert replay.count("(default: from each load line)") == 2
    for default in ("(default: learn)", "(default: dark)", "(default: 120x40)", "(default: 1GiB)"):
        assert default in replay


def test_one_picture_is_of_one_script(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(["replay", "a.steps", "b.steps", "--screenshot", "x.svg"], capsys)
    assert "--screenshot takes one script" in said


def test_the_language_of_scripts_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["help", "steps"]) == 0
    assert "zero_grad" in capsys.readouterr().out


def test_the_template_is_printed_or_written_once(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["template"]) == 0
    printed = capsys.readouterr().out
    assert "gradstep FILE.py:workload" in printed
    assert cli.main(["template", "mine.py"]) == 0
    assert "gradstep mine.py:workload" in capsys.readouterr().out
    assert Path("mine.py").read_text() == printed.replace("FILE.py", "mine.py")
    assert "mine.py cannot be written File exists." in refused(["template", "mine.py"], capsys)
    assert "train.py cannot be written File exists." in refused(["template", "train.py"], capsys)
    assert "gradstep template mine.txt.py" in refused(["template", "mine.txt"], capsys)


def test_the_template_works_as_it_is(script: Path) -> None:
    cli.main(["template", "mine.py"])
    Path("mine.steps").write_text(
        "load mine.py:workload seed=0\nforward\nlet first = loss\n"
        "repeat 20 { backward; step; zero_grad; next_batch; forward }\nexpect loss < first\n"
    )
    done = python("-m", "gradstep", "replay", "mine.steps")
    assert (done.returncode, done.stderr) == (0, "")


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )


@pytest.mark.parametrize(
    "code",
    [
        "import gradstep",
        "import gradstep; dir(gradstep)",
        "from gradstep import cli; cli.main(['examples'])",
        "from gradstep import cli; cli.main(['nope'])",
        "from gradstep import cli; cli.main(['template'])",
        "import gradstep.session.transport.remote, gradstep.session.transport.wire, gradstep.session.transport.open",
        "import gradstep.session.transport.engine_main",
    ],
)
def test_neither_torch_nor_textual_is_imported_where_they_are_not_needed(code: str) -> None:
    done = python(
        "-c", code + "\nimport sys; print([m for m in ('torch', 'textual', 'numpy', 'lark') if m in sys.modules])"
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_python_dash_m_is_the_same_program() -> None:
    assert python("-m", "gradstep", "--version").stdout == "gradstep 0.1.0\n"
    done = python("-m", "gradstep", "mlq")
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, "gradstep: there is no example called mlq")


def test_a_reader_that_closes_early_is_not_an_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -u -m gradstep examples | true", shell=True, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
