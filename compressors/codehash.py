"""What code a result came from: a hash of the syntax trees that can change a compressed weight."""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import json
from importlib.util import find_spec, resolve_name
from pathlib import Path

from compressors.method import Method, parse

# Spelling and look-up cannot change a weight: the resolved settings, which can, are hashed by value.
_NOT_HASHED = {
    "compressors",
    "compressors.registry",
    "compressors.method",
    "compressors.codehash",
    "compressors.report",
    "compressors.settings",
}


RECONSTRUCTION = "compressors.reconstruction"  # what the suffixes run; not in the hash of a method without one


def code_hash(method: Method | str) -> str:
    """sha256 (hex) over the method's resolved settings and the syntax trees of its file, the walker, the statistics
    and every file of this package (of their own, for an algorithm from elsewhere) that they import. Comments,
    docstrings and layout do not count. Imports no torch.

    A file is read once a process: the hash is that of the code which runs, not of what an editor saved meanwhile.
    """
    return _code_hash(parse(method))


@functools.cache
def _code_hash(method: Method) -> str:
    names = [method.algorithm] + ([method.base] if method.base else [])
    modules = [module_name(name) for name in names] + ["compressors.walker", "compressors.statistics"]
    modules += [RECONSTRUCTION] if method.suffixes else []
    digest = hashlib.sha256(json.dumps([str(method), method.all_settings], sort_keys=True).encode())
    for name, tree in sorted(_closure([name for name in modules if name]).items()):
        digest.update(f"\0{name}\0{tree}".encode())
    return digest.hexdigest()


def module_name(algorithm: str) -> str:
    """The full name of the module that holds an algorithm; empty for ``dense``."""
    module = Method(algorithm).entry.module
    ours = f"compressors.{module}"
    return ours if module and "." not in module and _file_of(ours) else module


def _closure(names: list[str]) -> dict[str, str]:
    trees: dict[str, str] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in trees or name in _NOT_HASHED:
            continue
        trees[name], imported = _read(name)
        waiting += imported
    return trees


@functools.cache
def _read(name: str) -> tuple[str, tuple[str, ...]]:
    """A module's code without docstrings, and the modules of this package that it imports."""
    tree = _tree(name)
    roots = {"compressors", name.split(".")[0]}
    imported: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            module = _absolute(node, name)
            if module.split(".")[0] in roots:
                inner = [f"{module}.{alias.name}" for alias in node.names]
                imported += [path for path in (module, *inner) if path == module or _is_module(path)]
        elif isinstance(node, ast.Import):
            imported += [alias.name for alias in node.names if alias.name.split(".")[0] in roots]
    return dump(_without_docstrings(tree)), tuple(imported)


def _file_of(name: str) -> str | None:
    """The file of a module of this package, or None if there is no such module; found without importing it."""
    path = Path(__file__).parent.joinpath(*name.split(".")[1:]).with_suffix(".py")
    return str(path) if path.is_file() else None


def _absolute(node: ast.ImportFrom, name: str) -> str:
    """The module that ``from ... import`` names in the module ``name``; empty if it leads out of its package."""
    if not node.level:
        return node.module or ""
    spec = find_spec(name)
    package = name if spec is not None and spec.submodule_search_locations is not None else name.rpartition(".")[0]
    with contextlib.suppress(ImportError):
        return resolve_name("." * node.level + (node.module or ""), package)
    return ""


def _is_module(name: str) -> bool:
    """Whether a dotted name is a module with a source file, rather than something that a module holds."""
    if name.split(".")[0] == "compressors":
        return bool(_file_of(name))
    try:
        spec = find_spec(name)
    except ModuleNotFoundError:  # its parent is no package
        return False
    return spec is not None and spec.has_location


def _tree(name: str) -> ast.Module:
    path = _file_of(name) if name.split(".")[0] == "compressors" else None
    if path is None:
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(f"no source file for module {name!r}")
        path = spec.origin
    return ast.parse(Path(path).read_text(encoding="utf-8"))


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:] or [ast.Pass()]
    return tree


def dump(node: object) -> str:
    """A syntax tree as text, alike in every version of Python: ``ast.dump`` and ``ast.unparse`` differ between them."""
    if isinstance(node, list):
        return f"[{', '.join(map(dump, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    parts = []
    for name in node._fields:
        absent = object()
        value = getattr(node, name, absent)
        optional = value is None and getattr(type(node), name, absent) is None
        if name != "type_params" and value is not absent and not optional:  # 3.12 added type parameters
            parts.append(f"{name}={dump(value)}")
    return f"{type(node).__name__}({', '.join(parts)})"
