from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def run(folder: Path, *options: str, files: tuple[str, ...] = (".",)) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:asyncio", "-rA", *options, *files]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "good.steps").write_text("# a comment\nsay first\n\nload linear seed=0\nscreenshot a.svg\nforward\n")
    (tmp_path / "cucumber.steps").write_text("Given a user\nWhen load is high\n")
    (tmp_path / "binary.steps").write_bytes(bytes(range(256)))
    (tmp_path / "empty.steps").write_text("")
    return tmp_path


EXPECTATIONS = {
    "one": ("expect iteration > 1.5", "expect iteration > 1.5: 0, expected > 1.5"),
    "two": ("expect weight.grad is not none", "expect weight.grad is not none: none, expected not none"),
    "six": ("expect shape(weight) == [7]", "expect shape(weight) == [7]: [1, 3], expected == [7]"),
}


def test_scripts_are_tests_foreign_files_are_not_and_a_failure_is_reported_at_its_line(folder: Path) -> None:
    (folder / "bad.steps").write_text("load linear seed=0\nsay told\nforward\n\n  expect loss < 0\n")
    (folder / "wrong.steps").write_text("load linear seed=0\nforwad\n")
    for name, (line, _) in EXPECTATIONS.items():
        (folder / f"{name}.steps").write_text(f"load linear seed=0\n{line}\n")
    done = run(folder)
    assert done.returncode == 1
    assert "5 failed, 1 passed" in done.stdout
    assert "PASSED good.steps::good" in done.stdout
    assert not (folder / "a.svg").exists()
    assert "bad.steps:5:3: the expectation does not hold" in done.stdout
    assert "\n      expect loss < 0\n      ^^^^^^^^^^^^^^^\n  expected   < 0\n" in done.stdout
    assert "bad.steps:5: expect loss < 0" in done.stdout
    assert "told" in done.stdout
    assert "wrong.steps:2:1: unknown command `forwad`" in done.stdout
    assert "Traceback" not in done.stdout
    assert "FAILED bad.steps::bad - expect loss < 0" in done.stdout
    for name, (_, summary) in EXPECTATIONS.items():
        assert f"FAILED {name}.steps::{name} - {summary}" in done.stdout


def test_a_file_that_is_named_is_run_whatever_it_begins_with(folder: Path) -> None:
    (folder / "unloaded.steps").write_text("forward\n")
    done = run(folder, files=("unloaded.steps", "good.steps"))
    assert "1 failed, 1 passed" in done.stdout
    assert "unloaded.steps:1:1: nothing is loaded" in done.stdout


def test_collecting_imports_no_torch(folder: Path) -> None:
    (folder / "conftest.py").write_text(
        "import sys\n"
        "def pytest_collection_finish(session):\n"
        "    print('FOUND', len(session.items), [m for m in ('torch', 'lark', 'textual') if m in sys.modules])\n"
    )
    done = run(folder, "--collect-only", "-s")
    assert "FOUND 1 []" in done.stdout
