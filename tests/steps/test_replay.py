from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from gradstep.session.local import Session
from gradstep.steps.jsonlines import spelled
from gradstep.steps.replay import replay

ISSUE = """\
load mlp seed=0
show 2.weight[0, 0:10]
let w0 = 2.weight[0, 0:10]
expect 2.weight.grad is none
forward
expect loss > 0
backward
let g = 2.weight.grad[0, 0:10]
expect 2.weight[0, 0:10] == w0
step
expect close(2.weight[0, 0:10], w0 - 0.001 * g, atol=1e-7)
repeat 5 { forward; backward }
zero_grad set_to_none=false
expect 2.weight.grad == 0
forward
backward
expect error "second time" { backward }
say What zero_grad does, in *Markdown*.
screenshot after.svg
"""
MODEL = """\
import torch
from gradstep import Workload

def broken(output, target):
    return [][1]

def make(loss=None):
    print("made")
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    batches = [(torch.ones(3, 2), torch.zeros(3, 1))]
    return Workload(model, loss or torch.nn.MSELoss(), optimizer, batches)

def make_broken():
    return make(broken)
"""


IN_PLACE = """\
import torch
from gradstep import Workload

class Model(torch.nn.Linear):
    def forward(self, x):
        hidden = torch.exp(x @ self.weight)
        hidden += 1
        return hidden.sum(1)

def make():
    print("made here")
    batches = [(torch.ones(3, 2), torch.zeros(3))]
    return Workload(Model(4, 2, bias=False), torch.nn.MSELoss(), lambda p: torch.optim.SGD(p, lr=0.1), batches)
"""


def written(folder: Path, text: str, name: str = "a.steps") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_the_script_of_the_issue_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn: list[tuple[int, str, tuple[int, int]]] = []

    def draw(session: Session, path: str, size: tuple[int, int]) -> None:
        drawn.append((session.stop.iteration, path, size))

    path = written(tmp_path, ISSUE)
    end = str(tmp_path / "end.svg")
    assert replay([path], draw=draw, screenshot=end, size=(80, 24)) == 0
    assert drawn == [(1, str(tmp_path / "after.svg"), (80, 24)), (1, end, (80, 24))]
    told = capsys.readouterr()
    assert told.err == ""
    said, closing = told.out.splitlines()
    assert said == "What zero_grad does, in Markdown."
    assert f"{path}: ok: 27 commands, 5 expectations held, 1 iteration, loss 52.3" in closing


def test_a_failed_expectation_shows_both_sides_and_the_greatest_difference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "load linear seed=0\nforward\nbackward\nexpect iteration == 2\nstep\n")
    assert replay([path]) == 1
    told = capsys.readouterr()
    assert told.err.splitlines() == [
        f"{path}:4:1: the expectation does not hold",
        "    expect iteration == 2",
        "    ^^^^^^^^^^^^^^^^^^^^^",
        "  expected   == 2",
        "  actual     0",
        "  difference 2",
    ]
    assert f"{path}: stopped at line 4: 3 commands, 0 expectations held, 1 failed, 0 iterations" in told.out


def test_a_wrong_name_is_found_when_it_is_met(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, "load mlp seed=0\nforward; print norm(2.wieght [0])\n")
    assert replay([path]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"{path}:2:21: there is no `2.wieght`",
        "    forward; print norm(2.wieght [0])",
        "                        ^^^^^^^^",
        "  It is not a name of the model, nor defined by a `let`.",
        "  Did you mean `2.weight`?",
    ]


@pytest.mark.parametrize(
    ("lines", "none", "remedy"),
    [
        ("expect 2.weight.grad == 0", "2.weight.grad", "Run backward first"),
        ("forward; backward; expect norm(2.weight.state.exp_avg) > 0", "2.weight.state", "The optimizer creates it"),
        ("into forward; expect isfinite(loss)", "loss", "`continue` runs to the end of this forward."),
        (
            "forward; into backward; expect not any(isnan(0.weight.grad))",
            "0.weight.grad",
            "`continue` runs to the end",
        ),
        ("forward; into backward; expect norm(node.out) > 0", "node.out", "`.out` once it has run"),
    ],
)
def test_an_expectation_over_what_is_none_does_not_hold_and_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lines: str, none: str, remedy: str
) -> None:
    path = written(tmp_path, f"load mlp seed=0\n{lines}\n")
    assert replay([path]) == 1, "2 is for a script that is wrong"
    told = capsys.readouterr().err
    assert "the expectation does not hold" in told
    assert f"  actual     `{none}` is none\n" in told
    assert remedy in told


def test_a_wrong_script_runs_nothing_and_shows_every_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, "load nothing_there\nforwad\nexpect\n")
    assert replay([path]) == 2
    told = capsys.readouterr()
    assert f"{path}:2:1: unknown command `forwad`" in told.err
    assert f"{path}:3:7: `expect` ends too early" in told.err
    assert told.out == ""


def test_what_the_model_raises_shows_the_users_own_frames(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path, MODEL, "model.py")
    path = written(tmp_path, "load model.py:make_broken seed=0\nforward\n")
    assert replay([path]) == 3
    told = capsys.readouterr().err.splitlines()
    assert told[0] == f"{path}:2:1: forward raised"
    assert "  IndexError: list index out of range" in told
    assert f'  File "{tmp_path}/model.py", line 5, in broken' in told
    assert "    return [][1]" in told


def test_what_is_at_fault_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path, IN_PLACE, "model.py")
    path = written(tmp_path, "load model.py:make seed=0\nforward\nbackward\n")
    assert replay([path]) == 3
    said = capsys.readouterr()
    assert "`hidden = torch.exp(x @ self.weight)` saved the tensor at version 0; it is at version 1 now" in said.err
    assert "`hidden += 1` modified it in place after that" in said.err
    assert said.out.count("made here") == 1, "what the second run prints is not shown"
    assert "stopped at line 3: 2 commands, 0 expectations held, 0 iterations, loss" in said.out


def test_a_node_has_its_line_where_a_script_steps_inside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path, IN_PLACE.replace("hidden += 1", "hidden = hidden + 1"), "model.py")
    for inside in ("forward\ninto backward\nover\nover", "break node Add*\nforward\nbackward"):
        *_, last = json_lines(capsys, written(tmp_path, f"load model.py:make seed=0\n{inside}\n"))
        assert last["position"]["name"] == "AddBackward0"
        assert last["position"]["source"]["text"] == "hidden = hidden + 1"


def test_of_several_files_the_highest_code_counts_and_all_are_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = written(tmp_path, "load linear seed=0\nexpect iteration == 0\n", "good.steps")
    bad = written(tmp_path, "load linear seed=0\nexpect iteration == 1\n", "bad.steps")
    worse = written(tmp_path, "forwad\n", "worse.steps")
    assert replay([bad, worse, good]) == 2
    out = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[1] for line in out] == ["stopped at line 2", "ok"]
    assert replay([good, str(tmp_path / "none.steps")]) == 2
    assert replay([good, bad]) == 1


def test_a_screenshot_that_cannot_be_written_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def draw(session: Session, path: str, size: tuple[int, int]) -> None:
        raise PermissionError(13, "Permission denied")

    path = written(tmp_path, "load linear seed=0\nscreenshot a.svg\n")
    assert replay([path], draw=draw) == 2
    assert "Permission denied" in capsys.readouterr().err


def json_lines(capsys: pytest.CaptureFixture[str], path: str, seed: int | None = None) -> list[dict[str, Any]]:
    assert replay([path], json=True, seed=seed) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_json_has_an_object_for_every_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path, MODEL, "model.py")
    path = written(tmp_path, "load model.py:make seed=0\nrepeat 2 { forward; backward; step }\nprint iteration\n")
    one, again, other = json_lines(capsys, path), json_lines(capsys, path), json_lines(capsys, path, seed=1)
    turn = ["forward", "backward", "step"]
    assert [o["command"] for o in one] == ["load model.py:make seed=0", *turn, *turn, "print iteration"]
    assert [o["phase"] for o in one] == [None, *turn, *turn, None]
    assert [o["iteration"] for o in one] == [0, 0, 0, 1, 1, 1, 2, 2]
    assert one[-1]["text"] == "2"
    assert [o["digest"] for o in one] == [o["digest"] for o in again]
    assert not {o["digest"] for o in one} & {o["digest"] for o in other}
    assert other[0]["command"] == "load model.py:make seed=1"
    (changed,) = [row for row in one[3]["changed"] if row["name"] == "weight"]
    assert set(changed) == {"name", "before", "after", "norm_before", "norm_after", "norm_of_change"}
    assert changed["norm_before"] != changed["norm_after"]


def test_narration_is_printed_as_it_reads_with_a_line_between_texts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "say # One\nload linear seed=0\nsay Look at **it**,\nsay `here`.\nsay ## Two\nforward\nprint 1\nsay End\n"
    assert replay([written(tmp_path, text)]) == 0
    said = capsys.readouterr().out.splitlines()[:-1]
    assert said == ["One", "", "Look at it,", "here.", "", "Two", "print 1", "1", "", "End"]


def test_json_spells_what_json_cannot() -> None:
    values = [float("nan"), float("inf"), float("-inf"), 0.5, None, "x"]
    assert [spelled(v) for v in values] == ["NaN", "Infinity", "-Infinity", 0.5, None, "x"]


def test_ctrl_c_ends_an_endless_repeat_with_the_closing_line(tmp_path: Path) -> None:
    path = written(tmp_path, "load linear seed=0\nsay begun\nrepeat 1000000000 { forward }\n")
    code = f"import sys; from gradstep.steps.replay import replay; sys.exit(replay([{path!r}]))"
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"{path}: interrupted at line 3: " in out


def test_a_long_replay_shows_its_progress_on_a_terminal(tmp_path: Path) -> None:
    path = written(tmp_path, "load linear seed=0\nrepeat 1000000000 { forward }\n")
    code = f"import sys; from gradstep.steps.replay import replay; sys.exit(replay([{path!r}]))"
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    seen = b""
    while b"turn " not in seen:
        seen += os.read(ours, 1 << 16)
    process.send_signal(signal.SIGINT)
    process.communicate()
    watchdog.cancel()
    os.close(ours)
    assert b"line 2 turn " in seen
    assert b"of 1,000,000,000, " in seen
    assert process.returncode == 130


def test_a_closed_pipe_is_no_traceback(tmp_path: Path) -> None:
    path = written(tmp_path, "load linear seed=0\n" + "say much text\n" * 20_000)
    code = f"import sys; from gradstep.steps.replay import replay; sys.exit(replay([{path!r}]))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert b"Traceback" not in process.stderr.read()
    assert process.wait() == 141
    process.stderr.close()


def test_a_replay_imports_no_textual(tmp_path: Path) -> None:
    path = written(tmp_path, "load linear seed=0\nforward\n")
    code = f"import sys; from gradstep.steps.replay import replay; replay([{path!r}]); print('textual' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_where_a_breakpoint_stops_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.py").write_text(
        "import torch, gradstep\n\n\n"
        "class Log(torch.nn.Linear):\n"
        "    def forward(self, x):\n"
        "        return torch.log(super().forward(x) - 9)\n\n\n"
        "def workload():\n"
        "    batch = (torch.ones(2, 3), torch.ones(2, 1))\n"
        "    loss = torch.nn.functional.mse_loss\n"
        "    return gradstep.Workload(Log(3, 1), loss=loss, optimizer=torch.optim.SGD, batches=[batch])\n"
    )
    text = "load bad.py:workload seed=0\nbreak nan\nforward\nprint op.name\ncontinue\n"
    assert replay([written(tmp_path, text)]) == 0
    told = capsys.readouterr().out.splitlines()
    place = told.index("line 3: breakpoint 1: torch.log makes nan of finite numbers")
    assert told[place + 1].strip() == "forward: exit torch.log of Log"
    assert told[place + 2].endswith("bad.py:6  return torch.log(super().forward(x) - 9)")
    assert sum("breakpoint 1: torch.log" in line for line in told) == 1


DETACHED = """\
import torch
from gradstep import Workload

class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Linear(4, 3), torch.nn.Linear(3, 1)

    def forward(self, x):
        return self.second(torch.nn.functional.dropout(self.first(x)).detach())

def make():
    batches = [(torch.ones(3, 4), torch.zeros(3, 1))]
    return Workload(Model(), torch.nn.MSELoss(), lambda p: torch.optim.SGD(p, lr=0.1), batches)
"""


@pytest.mark.parametrize("more", ["", "step; zero_grad; "])
def test_why_answers_the_same_with_and_without_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: str
) -> None:
    (tmp_path / "model.py").write_text(DETACHED)
    script = written(tmp_path, f"load model.py:make seed=0\nforward; backward; {more}why first.weight.grad\n")
    assert replay([script]) == 0
    plain = capsys.readouterr().out
    assert replay([script], json=True) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])["text"]
    assert "ends at torch.Tensor.detach at model.py:10" in said
    for line in said.splitlines():
        assert line in plain
