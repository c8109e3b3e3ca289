"""Who may import whom, read from the source."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRODUCT = sorted(
    path
    for folder in (ROOT / "hfcore", *(ROOT / "plugins").glob("*/src"))
    for path in folder.rglob("*.py")
    if "testing" not in path.relative_to(ROOT).parts
)
SLOW = ("boto3", "botocore", "pydantic", "rich", "typer")


def imported(path: Path, *, at_start: bool = False) -> set[str]:
    """Name the modules that a file imports; those that importing the file imports, or all."""
    names: set[str] = set()
    todo: list[ast.AST] = [ast.parse(path.read_text())]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        typing_only = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if not (at_start and (inside or typing_only)):
            todo += ast.iter_child_nodes(node)
    return names


def place(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", PRODUCT, ids=place)
def test_the_aws_toolkit_is_imported_by_itself_and_by_plugins_alone(path: Path) -> None:
    if path.is_relative_to(ROOT / "plugins") or path.is_relative_to(ROOT / "hfcore" / "aws"):
        return
    assert not {name for name in imported(path) if name.split(".")[:2] == ["hfcore", "aws"]}


@pytest.mark.parametrize("path", PRODUCT, ids=place)
def test_what_is_slow_to_import_is_imported_inside_functions(path: Path) -> None:
    """Pydantic and Typer may stand at the top of the modules that are themselves imported only when needed."""
    allowed = {"hfcore/templatefields.py": {"pydantic"}, "hfcore/aws/slim.py": {"botocore"}}.get(place(path), set())
    if path.parent == ROOT / "hfcore" / "cli" and path.name not in {"__init__.py", "hostfactory.py", "running.py"}:
        allowed = {"typer", "rich"}
    slow = {name.split(".")[0] for name in imported(path, at_start=True)} & set(SLOW)
    assert slow <= allowed


@pytest.mark.parametrize("path", PRODUCT, ids=place)
def test_plugins_know_neither_the_store_nor_the_service(path: Path) -> None:
    if not path.is_relative_to(ROOT / "plugins"):
        return
    hidden = {"hfcore.store", "hfcore.service", "hfcore.records", "hfcore.journal", "hfcore.cli"}
    assert not imported(path) & hidden


def test_no_part_of_the_product_names_a_test_double() -> None:
    assert not [place(path) for path in PRODUCT if "moto" in path.read_text().casefold().split()]
