"""An exported session is a program of its own that gives the same bits where gradstep can't be imported."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gradstep.engine.debuggee.loading import build, find_factory
from gradstep.engine.export import trial
from gradstep.examples import EXAMPLES
from gradstep.session.local import Session
from gradstep.steps.language.parse import parse_script
from gradstep.steps.runner import StepsRunner
from gradstep.values.commands import Export, Load
from gradstep.values.outcomes import Outcome

Runs = dict[str, tuple[int, str, str]]

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
LOADER = '''
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
PHASES = "repeat 2 { forward; backward; step; zero_grad; next_batch }"


@pytest.fixture(autouse=True)
def modules_of_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have every test import its own files; those of a test before it have the same names."""
    before = dict(sys.modules)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    for name in sys.modules.keys() - before.keys():
        if name.partition(".")[0] in ("torch", "transformers"):
            continue
        del sys.modules[name]


def steps(text: str, folder: Path) -> Outcome:
    """Carry out lines of a script; return the outcome of the last, or of the first that went wrong."""
    runner, session = StepsRunner(parse_script(text, str(folder / "story.steps"))), Session()
    outcome = None
    while runner.line is not None:
        outcome = session.execute(runner.line.command)
        if outcome.problem is not None:
            break
        runner.feed(None)
    assert outcome is not None
    return outcome


def assert_same(program: Path, runs: Runs) -> str:
    """Assert that a program, as it was run, says of everything that it has the same bits; return its text."""
    text = program.read_text("utf-8")
    status, out, err = runs[text]
    loss, *tensors = out.splitlines()
    found, expected = re.match(r"loss (\S+) expected (\S+)", loss).groups()  # type: ignore[union-attr]
    assert (status, found) == (0, expected), err
    assert tensors
    assert all(line.endswith("the same bits") for line in tensors)
    return text


@pytest.mark.parametrize(
    ("target", "weight", "bias"), [("cnn", "head.weight", "norm.bias"), ("build.py:build", "0.weight", "2.bias")]
)
def test_the_program_gives_the_same_bits(target: str, weight: str, bias: str, tmp_path: Path, runs: Runs) -> None:
    (tmp_path / "build.py").write_text(LOADER)
    story = re.sub(r"\bW\b", weight, re.sub(r"\bB\b", bias, STORY))
    outcome = steps(f"load {target} seed=3 device=cpu\n{story}", tmp_path)
    assert outcome.problem is None
    assert "it gave the same bits in " in outcome.text
    text = assert_same(tmp_path / "plain.py", runs)
    assert "for _ in range(3):" in text
    assert "import gradstep" not in text
    assert [path.name for path in tmp_path.glob("*plain*")] == ["plain.py"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_can_be_exported(name: str, tmp_path: Path, runs: Runs) -> None:
    assert steps(f"load {name} seed=1 device=cpu\n{PHASES}\nexport plain.py", tmp_path).problem is None
    assert_same(tmp_path / "plain.py", runs)


LINEAR = """torch.nn.Linear(3, 1), torch.nn.functional.mse_loss, \
lambda p: torch.optim.SGD(p, lr=0.1), [(torch.randn(8, 3), torch.ones(8, 1))]"""
FILES = {
    "an alias": "import torch\nimport gradstep as gs\ndef f():\n    return gs.Workload(LINEAR)\n",
    "two on a line": "import torch, gradstep\ndef f():\n    return gradstep.Workload(LINEAR)\n",
    "an alias behind another module": "import torch, gradstep as g, math\nf = lambda: g.Workload(LINEAR)\n",
    "inside the factory": "import torch\ndef f():\n    import gradstep\n    return gradstep.Workload(LINEAR)\n",
    "from, with an alias": "import torch\nfrom gradstep import Workload as W\ndef f():\n    return W(LINEAR)\n",
    "the module of Workload": "import torch, gradstep.workload\nf = lambda: gradstep.workload.Workload(LINEAR)\n",
    "the module by an alias": "import torch\nfrom gradstep import workload as w\nf = lambda: w.Workload(LINEAR)\n",
    "a star": "import torch\nfrom gradstep import *\ndef f():\n    return Workload(LINEAR)\n",
    "several lines": "import torch\nfrom gradstep import (\n    Workload,  # this\n)\nf = lambda: Workload(LINEAR)\n",
    "behind other letters": "import torch; é = 'ü'; import gradstep as g; h = 'ö'\nf = lambda: g.Workload(LINEAR)\n",
    "tried": """
import torch
try:
    import gradstep
except ImportError:
    gradstep = None
def f():
    return gradstep.Workload(LINEAR)
""",
    "tried in the factory": """
import torch
def f():
    try: import gradstep as gs
    except ImportError: gs = None
    return gs.Workload(LINEAR)
""",
    "for types only": """
from __future__ import annotations; import torch
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from gradstep import Workload
def f() -> Workload:
    import gradstep
    return gradstep.Workload(LINEAR)
""",
    "annotations that are evaluated": """
import torch, gradstep
kept: list[gradstep.Workload] = []
def f(default: "gradstep.Workload | None" = None) -> gradstep.Workload:
    return gradstep.Workload(LINEAR)
""",
    "a partial": """
import functools, torch, gradstep
def made(rate):
    return gradstep.Workload(LINEAR)
f = functools.partial(made, 0.1)
""",
    "a decorator": """
import functools, torch
from gradstep import Workload
def once(factory):
    @functools.wraps(factory)
    def inner():
        torch.manual_seed(5)
        return factory()
    return inner
@once
def f():
    return Workload(LINEAR)
""",
    "a class": """
import torch, gradstep
class f(gradstep.Workload):
    def __init__(self):
        super().__init__(LINEAR)
""",
    "run as a program": """
import torch
from gradstep import Workload, open
def f():
    return Workload(LINEAR)
if __name__ == "__main__":
    open(f())
""",
    "either a program or not": """
import torch, gradstep
rate = 0.5
if "__main__" == __name__ and True:
    raise SystemExit("as a program")
else:
    rate = 0.1
if __name__ != "__main__":
    torch.manual_seed(7)
def f():
    assert rate == 0.1, f"{__name__ == '__main__'}"
    return gradstep.Workload(LINEAR)
""",
    "names that the program has, too": """
import torch, gradstep
from numpy import random
w = gradstep.Workload(LINEAR)
hashlib = numpy = dataclasses = types = None
def f():
    return w
""",
    "what draws at its import": "import torch, gradstep\nw = gradstep.Workload(LINEAR)\ndef f():\n    return w\n",
    "a loss that is a module, batches by number, a plateau": """
import torch, gradstep
def f():
    return gradstep.Workload(
        torch.nn.Linear(3, 2),
        torch.nn.CrossEntropyLoss(),
        (lambda p: torch.optim.SGD(p, lr=0.1)),
        lambda i: (torch.full((4, 3), float(i)), torch.arange(4) % 2),
        schedulers=[lambda o: torch.optim.lr_scheduler.ReduceLROnPlateau(o, patience=0)],
    )
""",
    "one scheduler that is made already, and a loss of the batch": """
import torch, gradstep
def f():
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters())
    return gradstep.Workload(
        model,
        compute_loss=lambda m, batch: m(batch["x"]).square().mean(),
        optimizer=optimizer,
        batches=lambda: {"x": torch.randn(4, 3)},
        schedulers=torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5),
    )
""",
    "an optimizer with a closure": """
import torch, gradstep
def f():
    return gradstep.Workload(
        torch.nn.Linear(3, 1), torch.nn.functional.mse_loss, torch.optim.LBFGS, [(torch.randn(8, 3), torch.ones(8, 1))]
    )
""",
}


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in FILES.items()])
def test_a_file_is_exported_however_it_comes_by_gradstep(text: str, tmp_path: Path, runs: Runs) -> None:
    (tmp_path / "mine.py").write_text(text.replace("LINEAR", LINEAR), "utf-8")
    outcome = steps(f"load mine.py:f seed=2 device=cpu\n{PHASES}\nexport plain.py", tmp_path)
    assert outcome.problem is None
    text = assert_same(tmp_path / "plain.py", runs)
    assert not re.search(r"^\s*(import|from) gradstep", text, re.MULTILINE)


@pytest.mark.parametrize(
    "name",
    ["model", "closure", "tensor", "main", "seed_all", "build", "work", "loss", "forward", "torch", "gradstep", "same"],
)
def test_a_factory_may_have_any_name(name: str, tmp_path: Path, runs: Runs) -> None:
    made = "import torch as t\nfrom gradstep import Workload as W\n" + LINEAR.join(["w = W(", ")\n"]).replace(
        "torch", "t"
    )
    (tmp_path / "mine.py").write_text(f"{made}def {name}():\n    return w\n")
    outcome = steps(f"load mine.py:{name} seed=2 device=cpu\n{PHASES}\nexport plain.py", tmp_path)
    assert outcome.problem is None
    assert_same(tmp_path / "plain.py", runs)


def test_a_file_beside_it_may_import_gradstep_too(tmp_path: Path, runs: Runs) -> None:
    (tmp_path / "beside.py").write_text(
        "import torch\nfrom gradstep import Workload\nimport gradstep\nassert gradstep.Workload is Workload\n"
        f"def made():\n    return Workload({LINEAR})\n"
    )
    (tmp_path / "mine.py").write_text("from beside import made\nf = made\n")
    outcome = steps(f"load mine.py:f seed=2 device=cpu\n{PHASES}\nexport plain.py", tmp_path)
    assert outcome.problem is None
    assert "it imports beside.py: send that with it" in outcome.text
    assert "It imports beside.py, which must be in the same folder." in assert_same(tmp_path / "plain.py", runs)


def test_a_module_of_a_package_keeps_its_relative_imports(tmp_path: Path, runs: Runs) -> None:
    package = tmp_path / "nets"
    (package / "deep").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "sizes.py").write_text("wide = 3\n")
    (package / "deep" / "__init__.py").write_text("")
    (package / "deep" / "parts.py").write_text("import gradstep, torch\n")
    (package / "deep" / "model.py").write_text(
        "from .. import sizes\nfrom ..sizes import wide\nfrom .parts import gradstep as g, torch\n"
        f"def f():\n    assert sizes.wide == wide\n    return g.Workload({LINEAR})\n"
    )
    sys.path.append(str(tmp_path))
    outcome = steps(f"load nets.deep.model:f seed=2 device=cpu\n{PHASES}\nexport plain.py", tmp_path)
    assert outcome.problem is None
    assert "it imports nets/: send that with it" in outcome.text
    text = assert_same(tmp_path / "plain.py", runs)
    assert "from nets.deep.parts import gradstep as g, torch" in text
    assert "from nets import sizes\n" in text


def test_a_model_of_transformers_is_exported(tmp_path: Path, runs: Runs) -> None:
    pytest.importorskip("transformers")
    (tmp_path / "mine.py").write_text("""
import torch, gradstep
from transformers import GPT2Config, GPT2LMHeadModel
def f():
    model = GPT2LMHeadModel(GPT2Config(vocab_size=40, n_positions=16, n_embd=16, n_layer=2, n_head=2)).train()
    return gradstep.Workload(
        model,
        compute_loss=lambda model, ids: model(input_ids=ids, labels=ids).loss,
        optimizer=lambda p: torch.optim.AdamW(p, lr=1e-3),
        batches=[torch.randint(2, 40, (2, 7)) for _ in range(3)],
    )
""")
    outcome = steps(
        f"load mine.py:f seed=2 device=cpu\n{PHASES}\nforward; backward; clip grad norm=1\nexport plain.py", tmp_path
    )
    assert outcome.problem is None
    assert_same(tmp_path / "plain.py", runs)


def refused(outcome: Outcome, folder: Path) -> str:
    """Assert that an export was refused, and left no file; return what it says."""
    assert outcome.problem is not None
    assert outcome.problem.title == "this session can't be exported"
    assert not list(folder.glob("*plain*"))
    return f"{outcome.problem.what} | {outcome.problem.remedy}"


REFUSED = {
    "more of gradstep": (
        "import torch\nfrom gradstep import Session as S, Workload as W\ndef f():\n    return S and W(LINEAR)\n",
        "at `from gradstep import Session as S",
        "has a stand-in for gradstep.Workload only",
    ),
    "more of the module": (
        "import torch, gradstep\ndef f():\n    assert gradstep.__version__\n    return gradstep.Workload(LINEAR)\n",
        "has no attribute '__version__'",
        "has a stand-in for gradstep.Workload only",
    ),
    "what a seed does not reach": (
        "import os, torch, gradstep\ndef f():\n    w = gradstep.Workload(LINEAR)\n"
        "    w.model.bias.data[0] = os.getpid()\n    return w\n",
        "the bits differ from those of the session",
        "keep state outside of parameters and buffers?",
    ),
}


@pytest.mark.parametrize(("text", "what", "remedy"), [pytest.param(*each, id=name) for name, each in REFUSED.items()])
def test_what_does_not_run_by_itself_is_refused_with_the_reason(
    text: str, what: str, remedy: str, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(text.replace("LINEAR", LINEAR))
    said = refused(steps("load mine.py:f seed=0 device=cpu\nforward\nexport plain.py", tmp_path), tmp_path)
    assert what in said
    assert remedy in said


def test_without_a_seed_it_is_another_run(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(f"import torch, gradstep\nf = lambda: gradstep.Workload({LINEAR})\n")
    said = refused(steps("load mine.py:f device=cpu\nforward\nexport plain.py", tmp_path), tmp_path)
    assert "`load mine.py:f seed=0`" in said


def test_a_program_elsewhere_than_what_it_imports_is_refused_with_the_place_for_it(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("rate = 0.1\n")
    (tmp_path / "mine.py").write_text(
        f"import torch, gradstep\nfrom beside import rate\ndef f():\n    return gradstep.Workload({LINEAR})\n"
    )
    (tmp_path / "out").mkdir()
    said = refused(steps("load mine.py:f seed=0 device=cpu\nexport out/plain.py", tmp_path), tmp_path / "out")
    assert "No module named 'beside', at `from beside import rate`" in said
    assert f"`export {tmp_path.resolve() / 'plain.py'}`" in said


def test_a_workload_that_was_handed_over_has_no_source(tmp_path: Path) -> None:
    session = Session(build(find_factory("xor", ""), "xor"))
    assert "passed as an object" in refused(session.execute(Export(str(tmp_path / "plain.py"))), tmp_path)


def test_what_has_no_counterpart_is_named(tmp_path: Path) -> None:
    outcome = steps(
        "load xor seed=0\nlet w = 0.weight\nforward; backward; step\nset 0.weight = w\nexport plain.py", tmp_path
    )
    assert "`w` is defined by a `let`" in refused(outcome, tmp_path)


def test_a_program_is_run_in_a_process_of_its_own_without_gradstep(tmp_path: Path) -> None:
    program = tmp_path / "some.py"
    program.write_text("import sys\nassert __name__ == '__main__'\nassert sys.argv == [__file__]\nimport gradstep\n")
    (tmp_path / "gradstep.py").write_text("")
    seconds, ended, fault = trial.run(program)
    assert (ended, fault) == (
        True,
        "ModuleNotFoundError: No module named 'gradstep', at `import gradstep`",
    )
    assert seconds > 0
    program.write_text("import os\nos.abort()\n")
    assert "status -6" in trial.run(program).fault
    program.write_text("print(input.__name__)\n")
    assert trial.run(program).fault == ""


def test_a_program_that_takes_too_long_is_written_and_said_not_to_be_proven(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "LONG", 0.05)
    program = tmp_path / "some.py"
    program.write_text("import time\ntime.sleep(60)\n")
    stopped = trial.run(program)
    assert stopped == trial.TrialResult(0.05, False, "")
    monkeypatch.setattr("gradstep.engine.export.program.run", lambda _: stopped)
    outcome = steps("load xor seed=0 device=cpu\nexport plain.py", tmp_path)
    assert outcome.problem is None
    assert "is written, but not verified: it was stopped after" in outcome.text
    assert (tmp_path / "plain.py").exists()


def test_an_interrupt_stops_the_program_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(on_progress=lambda _: None)
    seen = []

    def interrupted(_: Path) -> trial.TrialResult:
        seen.append(session.running)
        raise KeyboardInterrupt

    monkeypatch.setattr("gradstep.engine.export.program.run", interrupted)
    session.execute(Load("xor", seed=0, device="cpu"))
    with pytest.raises(KeyboardInterrupt):
        session.execute(Export(str(tmp_path / "plain.py")))
    assert (seen, session.running, list(tmp_path.iterdir())) == ([True], False, [])
