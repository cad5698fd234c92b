"""A target that can't be loaded raises an error with a remedy; one that can is the same for the same seed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
import torch

from gradstep.engine.debuggee.loading import find_device
from gradstep.session.local import Session
from gradstep.values.commands import Forward, Load
from gradstep.values.errors import GradstepError
from gradstep.values.outcomes import Outcome
from gradstep.values.views import Digest, LookDigest

GOOD = """
    import torch
    from gradstep.workload import Workload

    drawn_at_import = torch.rand(3)

    def make():
        model = torch.nn.Linear(3, 1)
        x = drawn_at_import.expand(2, 3)
        return Workload(model, torch.nn.MSELoss(), lambda p: torch.optim.SGD(p, lr=0.1), [(x, torch.zeros(2, 1))])
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    standing = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - standing:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def load(folder: Path, target: str, text: str | None = None, **more: object) -> Outcome:
    if text is not None:
        (folder / target.partition(":")[0]).write_text(dedent(text))
    return Session().execute(Load(target, folder=str(folder), **{"device": "cpu", **more}))  # type: ignore[arg-type]


def refused(outcome: Outcome, kind: str = "wrong") -> str:
    assert outcome.problem is not None
    assert outcome.problem.kind == kind
    assert outcome.problem.remedy
    return f"{outcome.problem.title}: {outcome.problem.what} {outcome.problem.remedy}"


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("mpl", "there is no such example: mpl did you mean mlp?"),
        ("zzz", "The examples are mlp, linear"),
        ("train.py", "which function of the file?: train.py is a script"),
        ("gone.py:make", "there is no such file"),
        ("no.such.module:make", "there is no such module: no.such.module can't be imported"),
        (":make", "there is no such module"),
        ("math:sinn", "there is no function sinn: in math"),
    ],
)
def test_a_target_that_is_not_there(folder: Path, target: str, words: str) -> None:
    assert words in refused(load(folder, target))


def test_a_file_without_the_factory_names_the_nearest(folder: Path) -> None:
    said = refused(load(folder, "good.py:mak", GOOD))
    assert "there is no function mak: in good.py" in said
    assert "did you mean make?" in said


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ("def make(): raise ValueError('no data')", "raised", "ValueError: no data"),
        ("def make(): return (None,)[0]", "wrong", "bad.py:make returned None"),
        ("def make(): return None", "wrong", "make in bad.py returns nothing"),
        ("def make(): return 3", "wrong", "bad.py:make returned a int"),
        (
            "def make(n): return n",
            "wrong",
            "make in bad.py takes n. Write a function that calls it with them. A factory",
        ),
        ("import sys\ndef make(): return sys.exit(3)", "raised", "SystemExit: 3"),
        ("import sys; sys.exit('usage: train.py DATA')", "raised", "SystemExit: usage: train.py DATA"),
        ("raise SystemExit", "raised", "importing bad.py:make raised"),
        ("1 / 0", "raised", "ZeroDivisionError: division by zero"),
        ("def make(:", "raised", "SyntaxError"),
        ("import a_module_that_is_not_there", "raised", "No module named 'a_module_that_is_not_there'"),
        ("def make(): raise KeyboardInterrupt", "interrupted", ""),
    ],
)
def test_a_file_that_fails_says_how(folder: Path, body: str, kind: str, words: str) -> None:
    outcome = load(folder, "bad.py:make", body)
    assert outcome.problem is not None
    assert outcome.problem.kind == kind
    said = f"{outcome.problem.title}: {outcome.problem.what} {outcome.problem.remedy}"
    assert words in said
    assert "bad" not in sys.modules or kind != "raised" or "def make" in body


TRAINS = """
    import torch

    def main(steps=3):
        model = torch.nn.Linear(3, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(steps):
            optimizer.zero_grad()
            model(torch.ones(3)).sum().backward()
            optimizer.step()
        RESULT
"""


def test_a_function_that_trains_is_told_apart_before_it_runs_or_by_the_steps_it_took(folder: Path) -> None:
    unrun = "raise SystemExit('it is imported')\n" + dedent(TRAINS.replace("RESULT", "print('done')"))
    said = refused(load(folder, "train.py:main", unrun))
    assert "this function is not a factory: main in train.py returns nothing" in said
    assert "\ngradstep.open(gradstep.Workload(model=model" in said
    said = refused(load(folder, "train.py:main", TRAINS.replace("RESULT", "return model")))
    assert "train.py:main returned a Linear, after 3 optimizer steps of its own" in said
    assert "\ngradstep.open(gradstep.Workload(model=model" in said
    taken = "import gradstep\n" + dedent(TRAINS).replace(
        "RESULT", "return gradstep.Workload(model, lambda y, t: y.sum(), optimizer, [(torch.ones(3), 0)])"
    )
    assert load(folder, "train.py:main", taken).problem is None  # what is trained already can be stepped on


@pytest.mark.parametrize(
    "text",
    [
        "def make():\n    def inner(): return 1\n    class A:\n        def b(self): return 2",
        "def make():\n    for i in range(3):\n        print(i)\n    return",
    ],
)
def test_a_function_that_returns_nothing_is_not_run(folder: Path, text: str) -> None:
    assert "returns nothing" in refused(load(folder, "bad.py:make", f"{text}\nraise SystemExit"))


@pytest.mark.parametrize(
    "text",
    [
        "def make():\n    try:\n        return 3\n    finally: pass",
        "def make():\n    yield 3",
        "def make(*rest, n=3, **more): return n",
        "def made(): return 3\ndef make(): pass\nmake = made",
        "def once(f): return lambda: 3\n@once\ndef make(n): pass",
    ],
)
def test_what_may_return_something_is_run(folder: Path, text: str) -> None:
    assert "the factory did not return a Workload" in refused(load(folder, "good.py:make", text))


def test_the_users_own_line_is_among_the_frames(folder: Path) -> None:
    problem = load(folder, "bad.py:make", "def make():\n    return helper()\ndef helper():\n    1 / 0").problem
    assert problem is not None
    assert [(frame.function, frame.line, frame.user) for frame in problem.frames] == [
        ("make", 2, True),
        ("helper", 4, True),
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("model=3", "`model` is a int"),
        ("model=torch.nn.LazyLinear(1)", "weight belongs to a lazy module: it has no shape before the first input"),
        ("model=torch.nn.LazyBatchNorm1d()", "belongs to a lazy module"),
        ("loss=None", "neither `loss` nor `compute_loss`"),
        ("compute_loss=print", "both are given"),
        ("loss=3", "`loss` is a int"),
        ("optimizer=None", "`optimizer` is not given"),
        ("optimizer=lambda p: 3", "`optimizer` is or returned a int"),
        ("batches=None", "`batches` is not given"),
        ("batches=[]", "`batches` is an empty list"),
    ],
)
def test_an_incomplete_workload_names_what_is_missing(folder: Path, change: str, words: str) -> None:
    good = dict(model="torch.nn.Linear(1, 1)", loss="print", optimizer="lambda p: torch.optim.SGD(p, 1)", batches="[1]")  # noqa: C408
    name, _, value = change.partition("=")
    parts = ", ".join(f"{k}={v}" for k, v in {**good, name: value}.items())
    text = f"import torch\nfrom gradstep.workload import Workload\ndef make(): return Workload({parts})"
    assert words in refused(load(folder, "part.py:make", text))


@pytest.mark.parametrize("name", ["random", "queue", "profile", "this"])
def test_a_file_named_like_a_module_of_python_hides_none(folder: Path, name: str) -> None:
    standing = sys.modules.get(name)
    assert load(folder, f"{name}.py:make", GOOD).ok
    assert sys.modules.get(name) is standing
    found = __import__("importlib.util").util.find_spec(name)
    assert found is None or str(folder) not in str(found.origin)


def test_a_neighbour_is_found_and_a_changed_file_is_read_again(folder: Path) -> None:
    (folder / "neighbour_of_it.py").write_text("LR = 0.5")
    text = GOOD.replace("import torch", "import torch\n    from neighbour_of_it import LR", 1)
    outcome = load(folder, "mine.py:make", text.replace("lr=0.1", "lr=LR"))
    assert outcome.stop.lr == (0.5,)
    assert load(folder, "mine.py:make", GOOD.replace("lr=0.1", "lr=0.25")).stop.lr == (0.25,)


def test_a_package_whose_own_import_fails_is_not_said_to_be_missing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "pack_of_tests").mkdir()
    (folder / "pack_of_tests" / "__init__.py").write_text("import a_module_that_is_not_there")
    monkeypatch.syspath_prepend(folder)
    outcome = load(folder, "pack_of_tests.inner:make")
    assert outcome.problem is not None
    assert "No module named 'a_module_that_is_not_there'" in outcome.problem.what


def digest(session: Session) -> str:
    (view,) = session.look(LookDigest())
    assert isinstance(view, Digest)
    return view.digest


def test_one_seed_one_workload_also_of_what_is_drawn_at_import(folder: Path) -> None:
    (folder / "good.py").write_text(dedent(GOOD))
    losses = []
    for seed in (0, 0, 1):
        session = Session()
        session.execute(Load("good.py:make", seed=seed, device="cpu", folder=str(folder)))
        losses.append((session.execute(Forward()).stop.loss, digest(session)))
    assert losses[0] == losses[1] != losses[2]


def test_a_load_that_fails_leaves_what_was_loaded_as_it_was(folder: Path) -> None:
    session = Session()
    session.execute(Load("cnn", seed=0, device="cpu"))
    session.execute(Forward())
    before, stop, log = digest(session), session.stop, list(session.log)
    (folder / "bad.py").write_text("import torch\ntorch.rand(1)\ndef make():\n    torch.rand(1)\n    1 / 0")
    for command in (
        Load("bad.py:make", seed=5, folder=str(folder)),
        Load("mpl", seed=5),
        Load("mlp", device="cuda:99"),
    ):
        assert not session.execute(command).ok
    assert (digest(session), session.stop, session.log) == (before, stop, log)


def test_devices() -> None:
    assert find_device("cpu") == torch.device("cpu")
    assert find_device("auto").type in ("cpu", "cuda", "mps")
    for name, title in (("cuda:99", "this device is not available"), ("cup", "there is no such device")):
        with pytest.raises(GradstepError) as caught:
            find_device(name)
        assert caught.value.problem.title == title
        assert caught.value.problem.remedy
