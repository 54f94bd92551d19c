"""A pytest plugin that reports which `except` branches of `pipeline/` no test entered.

    python -m pytest -p tests.except_branches tests/sources tests/weekly

An import hook puts a mark into each `except` branch as its module is loaded. Forks and the interpreters that tests
start keep it, unless they get another PYTHONPATH. The report covers the modules that were loaded. Several commands add
to one report if EXCEPT_BRANCHES names the same file.
"""

import ast
import builtins
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from tempfile import mkdtemp, mkstemp
from types import CodeType, ModuleType
from typing import Any

ROOT = Path(__file__).parent.parent
MARKS = Path(os.environ.get("EXCEPT_BRANCHES") or mkstemp()[1])
"""Lines `found PLACE` of loaded and `entered PLACE` of entered branches, from all processes."""
os.environ["EXCEPT_BRANCHES"] = str(MARKS)
MARKS.touch()
with suppress(PermissionError):
    MARKS.chmod(0o666)  # a fork may have become another user


@cache
def _note(kind: str, branch: str) -> None:
    with MARKS.open("a") as file:
        file.write(f"{kind} {branch}\n")


class _Marking(ast.NodeTransformer):
    def __init__(self, path: str) -> None:
        self.path = path

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.ExceptHandler:
        self.generic_visit(node)
        branch = f"{self.path}:{node.lineno} except {ast.unparse(node.type) if node.type else ''}"
        _note("found", branch)
        mark = ast.parse(f"__note_branch__('entered', {branch!r})").body
        node.body[:0] = [ast.copy_location(statement, node.body[0]) for statement in mark]
        return node


class _Loader(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        marked = _Marking(str(Path(path).relative_to(ROOT))).visit(ast.parse(self.get_data(path)))
        return compile(ast.fix_missing_locations(marked), path, "exec", dont_inherit=True)


class _Finder:
    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, _target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path) if name.partition(".")[0] == "pipeline" else None
        if spec and spec.origin:
            spec.loader = _Loader(name, spec.origin)
        return spec


builtins.__note_branch__ = _note
sys.meta_path.insert(0, _Finder)


def pytest_configure() -> None:
    """Give the hook to every interpreter that a test starts."""
    folder = Path(mkdtemp())
    (folder / "sitecustomize.py").write_text("import tests.except_branches\n")
    os.environ["PYTHONPATH"] = str(folder)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    marks = {tuple(line.split(" ", 1)) for line in MARKS.read_text().splitlines()}
    found = sorted(branch for kind, branch in marks if kind == "found")
    missed = [branch for branch in found if ("entered", branch) not in marks]
    terminalreporter.section("except branches")
    terminalreporter.write_line(f"{len(found) - len(missed)} of {len(found)} were entered; these were not:")
    for branch in missed:
        terminalreporter.write_line(branch)
