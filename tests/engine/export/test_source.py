"""A workload's file is rewritten by its syntax tree: only what has to change does, byte for byte."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from gradstep.engine.export.source import rewrite


def rewritten(text: str, folder: Path, package: str = "") -> tuple[list[str], str]:
    file = folder / "mine.py"
    file.write_text(dedent(text).lstrip("\n"), "utf-8")
    source = rewrite(file, package)
    return source.futures, source.text


def test_a_file_that_imports_nothing_of_gradsteps_stays_as_it_is(tmp_path: Path) -> None:
    text = "import torch  # é\n\n\ndef f( a=1 ):\n    '''x'''\n    return  a\n"
    assert rewritten(text, tmp_path) == ([], text)


@pytest.mark.parametrize(
    ("line", "becomes"),
    [
        ("import gradstep", "gradstep = gradstep_module"),
        ("import torch, gradstep as g, os.path as p", "import torch; g = gradstep_module; import os.path as p"),
        ("from gradstep import Workload as W, open", "W = gradstep_Workload"),
        ("from gradstep.workload import Workload", "Workload = gradstep_Workload"),
        (
            "from gradstep import (Session as S,\n  Workload)",
            "from gradstep import Session as S; Workload = gradstep_Workload",
        ),
        ("from gradstep import open", "pass"),
        ("import gradstep.examples.mlp", "import gradstep.examples.mlp"),
        ("from gradstepping import x", "from gradstepping import x"),
        ("é = 'ü'; import gradstep; a = 1", "é = 'ü'; gradstep = gradstep_module; a = 1"),
        ("from . import a", "from pack.inner import a"),
        ("from .. import a as b, c", "from pack import a as b, c"),
        ("from ..x.y import (\n  a,  # why\n)", "from pack.x.y import a"),
        ("a = __name__ == '__main__' or 'x'", "a = False or 'x'"),
        ("a = f\"{__name__ == '__main__'}\"", "a = f\"{__name__ == '__main__'}\""),
    ],
)
def test_an_import_is_replaced_where_it_stands(line: str, becomes: str, tmp_path: Path) -> None:
    assert rewritten(f"{line}\nS\n", tmp_path, "pack.inner") == ([], f"{becomes}\nS\n")


def test_imports_of_the_future_come_first_and_what_runs_as_a_program_goes(tmp_path: Path) -> None:
    futures, text = rewritten(
        '''
        """What it is."""
        from __future__ import annotations  # all of it
        from __future__ import division; a = 1
        if __name__ == "__main__":
            import gradstep
            gradstep.open()
        b = 2
        if "__main__" == __name__:
            c = 3
        else:
            c = 4
        ''',
        tmp_path,
    )
    assert futures == ["from __future__ import annotations", "from __future__ import division"]
    assert text == '"""What it is."""\npass; a = 1\nb = 2\nif False:\n    c = 3\nelse:\n    c = 4\n'


def test_a_file_is_read_in_its_own_encoding_and_with_its_own_line_ends(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_bytes(
        "# coding: latin-1\r\nname = 'é'; import gradstep\r\n\x0c\r\n\ta = 1\r\n".replace("\t", "").encode("latin-1")
    )
    assert rewrite(file, "").text == "# coding: latin-1\nname = 'é'; gradstep = gradstep_module\n\x0c\na = 1\n"
