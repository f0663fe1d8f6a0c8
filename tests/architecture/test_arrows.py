"""Arrows point down only, core is bare of frameworks, and importing it is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAYERS = [
    {
        "errors",
        "_optional",
        "protocols",
        "scoping",
        "messages",
        "switch",
        "lazy",
        "singleflight",
        "bell",
        "quick",
        "process",
        "deadline",
        "flow",
        "outcome",
        "said",
        "twins",
    },
    {"text", "storage"},
    {"tokens", "embeddings", "settings"},
    {"usage"},
    {"cache", "memory"},
    {"stack", "analytics", "improve"},
    {"demo", "testing"},
    {"cli"},
]
LEVERS = {"cache", "memory", "retrieval", "tools", "compression", "routing", "budgets", "batching"}
VALUES_IN_USAGE = {"tokenwise_core.usage.components"}  # names and sums only: every layer may speak of components
HEAVY = {"torch", "faiss", "onnxruntime", "tokenizers", "langchain_core", "langchain", "llama_index", "psycopg"}


def modules(package: str) -> Iterator[tuple[str, Path]]:
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def layer(module: str) -> int | None:
    name = module.split(".")[1] if "." in module else ""
    return next((level for level, names in enumerate(LAYERS) if name in names), None)


def test_every_module_of_core_has_a_place_in_the_layers() -> None:
    homeless = [m for m, _ in modules("tokenwise_core") if m != "tokenwise_core" and layer(m) is None]
    assert not [m for m in homeless if m.split(".")[1] not in LEVERS]


def test_inside_core_arrows_point_down_only() -> None:
    upward = [
        f"{module} imports {target}"
        for module, path in modules("tokenwise_core")
        for target in imports(path)
        if target.startswith("tokenwise_core.")
        and target not in VALUES_IN_USAGE
        and (layer(module) is not None and layer(target) is not None and layer(target) > layer(module))
    ]
    assert not upward


def test_no_lever_imports_another_nor_the_loop_that_watches_them() -> None:
    wrong = [
        f"{module} imports {target}"
        for module, path in modules("tokenwise_core")
        if module.count(".") and module.split(".")[1] in LEVERS
        for target in imports(path)
        if target.startswith("tokenwise_core.")
        and target.split(".")[1] in (LEVERS | {"improve"}) - {module.split(".")[1]}
    ]
    assert not wrong


def test_core_imports_neither_framework() -> None:
    wrong = [
        f"{module} imports {target}"
        for module, path in modules("tokenwise_core")
        for target in imports(path)
        if target.split(".")[0] in {"langchain", "langchain_core", "langgraph", "llama_index", "tokenwise_langchain"}
        or target.split(".")[0] == "tokenwise_llamaindex"
    ]
    assert not wrong


@pytest.mark.parametrize(("package", "other"), [("langchain", "llamaindex"), ("llamaindex", "langchain")])
def test_adapters_never_import_each_other_nor_what_core_keeps_private(package: str, other: str) -> None:
    wrong = []
    for module, path in modules(f"tokenwise_{package}"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                private = node.module.startswith("tokenwise_core") and any(a.name.startswith("_") for a in node.names)
                if private or node.module.startswith(f"tokenwise_{other}"):
                    wrong.append(f"{module}: {node.module}")
    assert not wrong


def test_importing_core_costs_no_framework_and_no_model_runtime() -> None:
    program = f"import sys, tokenwise_core, tokenwise_core.cli; print(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == []


def test_no_machine_path_or_package_host_is_named() -> None:
    words = ["/" + "work/", "/" + "root/", "pypi" + ".org", "file" + ":///opt"]
    files = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True, cwd=ROOT).stdout.split()
    named = [
        f"{name}: {word}"
        for name in files
        if (ROOT / name).suffix in {".py", ".md", ".toml", ".json", ".ipynb", ".sh", ""} and (ROOT / name).is_file()
        for word in words
        if word in (ROOT / name).read_text(encoding="utf-8", errors="ignore")
    ]
    assert not named
