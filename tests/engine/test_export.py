"""An exported session is a program of its own that gives the same bits."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gradstep.session.local import Session
from gradstep.steps.parse import parse_script
from gradstep.steps.runner import Runner
from gradstep.values.outcomes import Problem

STORY = """
repeat 3 { forward; backward; step; zero_grad; next_batch }
forward; backward
undo 2
forward; backward
set lr = 0.03
set W[0] = 0.5
set W = 1.01 * W
set B.grad = 0
clip grad norm=0.5
step
zero_grad set_to_none=false
forward
into backward
until node.name == "AddmmBackward0"; set node.in = 0.5 * node.in; set node.in[0] = 0
into; set node.out[1] = -2 * node.out[1]; set node.out[1, 0, 0:2] = 1e-3
over; set node.in = none
out phase
clip grad norm=2.0
seed 5
eval
forward
train
freeze W
optimizer adamw lr=0.01 betas=[0.8, 0.9]
zero_grad; forward; backward; step
export plain.py
"""
FILE = '''
"""A workload in a file of its own."""
from __future__ import annotations

import torch
import gradstep

model = "a name that the program must not take"


def build() -> gradstep.Workload:
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 2))
    data = [(torch.randn(4), torch.randn(2)) for _ in range(6)]
    loader = torch.utils.data.DataLoader(data, batch_size=2, shuffle=True)
    return gradstep.Workload(
        net,
        torch.nn.functional.mse_loss,
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
        loader,
        schedulers=lambda o: torch.optim.lr_scheduler.StepLR(o, 1, 0.5),
        schedule="epoch",
    )


if __name__ == "__main__":
    raise SystemExit("this is not to run")
'''


def run(text: str, folder: Path) -> Problem | None:
    script = parse_script(text, str(folder / "story.steps"))
    runner, session = Runner(script), Session()
    while runner.line is not None:
        problem = session.execute(runner.line.command).problem
        if problem is not None:
            return problem
        runner.feed(None)
    return None


def proof(folder: Path) -> list[str]:
    """Run the program where gradstep can't be imported; return the lines of its proof."""
    code = (
        "import sys; sys.modules['gradstep'] = None; "
        "exec(compile(open('plain.py').read(), 'plain.py', 'exec'), {'__name__': '__main__'})"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=folder, capture_output=True, text=True, check=False, env={**os.environ}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("target", "weight", "bias"), [("cnn", "head.weight", "norm.bias"), ("build.py:build", "0.weight", "2.bias")]
)
def test_the_program_gives_the_same_bits(target: str, weight: str, bias: str, tmp_path: Path) -> None:
    (tmp_path / "build.py").write_text(FILE)
    story = re.sub(r"\bW\b", weight, re.sub(r"\bB\b", bias, STORY))
    assert run(f"load {target} seed=3 device=cpu\n{story}", tmp_path) is None
    loss, *parameters = proof(tmp_path)
    found, expected = re.match(r"loss (\S+) expected (\S+)", loss).groups()  # type: ignore[union-attr]
    assert found == expected
    assert len(parameters) > 3
    assert all(line.endswith("the same bits") for line in parameters)
    text = (tmp_path / "plain.py").read_text()
    assert "for _ in range(3):" in text
    assert "import gradstep" not in text


def test_a_workload_that_was_handed_over_has_no_source(tmp_path: Path) -> None:
    from gradstep.engine.debuggee.loading import build, find_factory
    from gradstep.values.commands import Export

    session = Session(build(find_factory("xor", ""), "xor"))
    problem = session.execute(Export(str(tmp_path / "x.py"))).problem
    assert problem is not None
    assert "handed over as an object" in problem.what
    assert not list(tmp_path.iterdir())


def test_what_has_no_counterpart_is_named(tmp_path: Path) -> None:
    problem = run(
        "load xor seed=0\nlet w = 0.weight\nforward; backward; step\nset 0.weight = w\nexport plain.py", tmp_path
    )
    assert problem is not None
    assert "`w` was kept by a `let`" in problem.what
