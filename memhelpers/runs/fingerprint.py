"""What a result depends on, as text: the code of functions, and the values that they use.

`sweep` stores each run under a hash of it, so that a run is done again when something that
determines it has changed, and only then. Comments, docstrings and layout do not count, nor does the
device, nor the version of torch or another library.
"""

import ast
import contextlib
import dis
import enum
import functools
import hashlib
import importlib.util
import inspect
import linecache
import os
import pkgutil
import sys
import sysconfig
import types
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from memhelpers import engine
from memhelpers.errors import ArgumentError

_PACKAGE = __name__.partition(".")[0]
_LIBRARIES = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
_PLAIN = (type(None), bool, int, float, complex, str, bytes, range, slice)
_BY_REPR = (torch.dtype, torch.Size, np.dtype, np.generic, enum.Enum)
_ALLOWED = (
    "what can be pinned down: numbers, texts, tuples, lists, dicts, arrays, tensors, tables, data "
    "sets and functions; make anything else inside the function, or pass what it is made from as a "
    "parameter of the run"
)


def lines(named: Mapping[str, Any], by_function: str = "") -> list[str]:
    """Everything that determines what the named functions give and what the named values are.

    Of a function that is defined in a notebook or a script, its code counts and that of what it
    refers to by globals, closures and defaults; of one that is imported, the whole module counts,
    and the reader's own modules that it imports; of an installed library, the name. The code of
    `engine` always counts, as a whole; that of `runs`, which changes no result, never.

    Args:
        named: functions, data sets and other values, by a name for each.
        by_function: a module of which functions count one by one, and classes by name.

    Returns:
        Lines such as "experiment = function network_of 3f2a90c1d2e4b5a6", sorted.

    Raises:
        ArgumentError: a value that says nothing of what it will do, such as an open file, a random
            generator or a network with its weights; or a module was edited since it was imported.
    """
    walk = Walk(by_function)
    for module in pkgutil.iter_modules(engine.__path__, f"{engine.__name__}."):
        walk.module(module.name)
    found = {f"{name} = {walk.pin(value, name)}" for name, value in named.items()}
    packages: dict[str, list[str]] = {}
    for name, code in sorted(walk.modules.items()):
        packages.setdefault(name.rpartition(".")[0] or name, []).append(f"{name} {code}")
    sources = {f"{package} = source {digest(*codes)}" for package, codes in packages.items()}
    return sorted(found | walk.used | sources)


def digest(*parts: str | bytes) -> str:
    """16 hexadecimal digits for some texts."""
    hashed = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        hashed.update(f"{len(content)}|".encode())
        hashed.update(content)
    return hashed.hexdigest()[:16]


def architecture(network: nn.Module, walk: "Walk") -> tuple[Hashable, ...]:
    """What a template computes: its layers, their settings and sizes, not its weights.

    Raises:
        ArgumentError: a layer has a setting that cannot be pinned down.
    """
    parts: list[Hashable] = [repr(network)]
    for name, layer in network.named_modules():
        settings = {k: v for k, v in vars(layer).items() if k[0] != "_" and k != "training"}
        parts += [type(layer), name, walk.pin(settings, name)]
    parts += [f"{name} {list(p.shape)} {p.requires_grad}" for name, p in network.named_parameters()]
    parts += [f"{name} {_of_tensor(buffer)}" for name, buffer in network.named_buffers()]
    return tuple(parts)


class Walk:
    """One walk over everything that is referred to; each function, class and module once.

    Attributes:
        used: lines for what functions and classes of notebooks and scripts refer to.
        modules: digest of the source of each of the reader's own modules.
    """

    def __init__(self, by_function: str = ""):
        self.by_function = by_function
        self.used: set[str] = set()
        self.modules: dict[str, str] = {}
        self.seen: set[Hashable] = set()
        self.inside: set[int] = set()  # functions that refer to themselves

    def pin(self, value: Any, path: str) -> str:
        """A short text that changes with the value; `path` names it in errors."""
        if isinstance(value, _PLAIN):
            text = repr(value)
            return text if len(text) <= 60 else f"{type(value).__name__} {digest(text)}"
        if isinstance(value, _BY_REPR):
            return f"{type(value).__name__} {value!r}"
        if isinstance(value, torch.device):
            return "device"  # where is no part of what
        if isinstance(value, Tensor):
            return _of_tensor(value)
        if isinstance(value, np.ndarray) and not value.dtype.hasobject:
            content = np.ascontiguousarray(value).tobytes()
            return f"array {digest(str(value.dtype), str(value.shape), content)}"
        if isinstance(value, pd.DataFrame | pd.Series | pd.Index):
            return _of_table(value, path)
        if isinstance(value, Path) and value.is_file():
            return f"file {digest(value.read_bytes())}"
        if isinstance(value, Mapping | list | tuple | set | frozenset | np.ndarray):
            return self._container(value, path)
        return self._code(value, path)

    def _container(self, value: Any, path: str) -> str:
        known = value.items() if isinstance(value, Mapping) else enumerate(value)
        items = [(k, self.pin(v, f"{path}[{k!r}]")) for k, v in known]
        if isinstance(value, set | frozenset):
            tokens = sorted(token for _, token in items)
        else:
            tokens = [text for k, token in items for text in (self.pin(k, path), token)]
        return f"{type(value).__name__} of {len(items)} {digest(*tokens)}"

    def _code(self, value: Any, path: str) -> str:
        if isinstance(value, types.ModuleType):
            self.module(value.__name__)
            return f"module {value.__name__}"
        if isinstance(value, types.FunctionType):
            return self._function(value, path)
        if isinstance(value, type):
            return self._class(value, path)
        if isinstance(value, functools.partial):
            return f"partial {self.pin((value.func, value.args, value.keywords), path)}"
        if callable(getattr(value, "__wrapped__", None)):  # such as a cached function
            return f"{type(value).__name__} of {self.pin(value.__wrapped__, path)}"
        if isinstance(value, types.MethodType):
            return f"method {self.pin((value.__func__, value.__self__), path)}"
        if hasattr(value, "fingerprint") and hasattr(value, "classes"):
            masks = [_of_tensor(mask) for mask in (value.replaced, value.changed)]
            return f"dataset {value.fingerprint} {digest(*value.classes, *masks)}"
        if is_dataclass(value):
            state = {field.name: getattr(value, field.name) for field in fields(value)}
            return f"{self.pin(type(value), path)} {self.pin(state, path)}"
        return _of_library(value, path)

    def _function(self, function: types.FunctionType, path: str) -> str:
        module, name = function.__module__ or "", _short(function.__qualname__)
        code = function.__code__
        foreign = _is_installed(code.co_filename) and code.co_filename != _origin(module)
        if foreign or _in_library(module):
            wrapped = getattr(function, "__wrapped__", None)  # as by `torch.no_grad()`
            return f"library {module}.{name}" + (f" {self.pin(wrapped, path)}" if wrapped else "")
        token = f"{name} {_of_code(code)}"
        if self._by_module(module):
            self.module(module)
        elif token not in self.seen:
            self.seen.add(token)
            self._globals(function, token)
        if id(function) in self.inside:
            return token
        cells = zip(code.co_freevars, function.__closure__ or (), strict=True)
        held = {variable: _content(cell) for variable, cell in cells}
        held["defaults"] = (function.__defaults__, function.__kwdefaults__)
        self.inside.add(id(function))
        try:
            tokens = [f"{k} {self.pin(value, f'{name}: {k}')}" for k, value in held.items()]
        finally:
            self.inside.remove(id(function))
        return f"function {name} {digest(token, *tokens)}"

    def _globals(self, function: types.FunctionType, token: str) -> None:
        """Note what a function of a notebook or a script refers to by name."""
        found, name = function.__globals__, _short(function.__qualname__)
        for variable in sorted(_globals_of(function.__code__) & found.keys()):
            value = found[variable]
            self.used.add(f"{token}: {variable} = {self.pin(value, f'{name}: {variable}')}")
            for attribute in function.__code__.co_names if inspect.ismodule(value) else ():
                if f"{value.__name__}.{attribute}" in sys.modules:
                    self.module(f"{value.__name__}.{attribute}")
        node = _definition(function.__code__)
        for module in _imported(node, function.__module__ or "") if node else ():
            self.module(module)

    def _class(self, kind: type, path: str) -> str:
        module, name = kind.__module__, _short(kind.__qualname__)
        if _in_library(module):
            return f"library {module}.{name}"
        if self._by_module(module):
            self.module(module)
        elif module != self.by_function and kind not in self.seen:
            self.seen.add(kind)
            for member, value in [("bases", kind.__bases__), *_members(kind)]:
                token = self.pin(value, f"{name}: {member}")
                self.used.add(f"class {name}: {member} = {token}")
        return f"class {name}"

    def _by_module(self, name: str) -> bool:
        """Whether a function is told by the whole module: not one of a notebook or a script."""
        return name not in ("__main__", self.by_function) and _file_of(name) is not None

    def module(self, name: str) -> None:
        """Note the source of a module and of those that it imports, if they are the reader's."""
        if name in self.modules or not self._by_module(name):
            return
        source = _source(_file_of(name))
        _check_unedited(name, source)
        self.modules[name], imported = _of_source(source, name)
        for other in imported:
            self.module(other)


def _of_tensor(tensor: Tensor) -> str:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    content = flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
    return f"tensor {digest(str(tensor.dtype), str(list(tensor.shape)), content)}"


def _of_table(value: pd.DataFrame | pd.Series | pd.Index, path: str) -> str:
    table = value if isinstance(value, pd.DataFrame) else value.to_frame()
    try:
        rows = pd.util.hash_pandas_object(table).to_numpy().tobytes()
    except TypeError:
        raise ArgumentError(path, table, _ALLOWED) from None
    return f"table {digest(*(f'{name!r} {kind}' for name, kind in table.dtypes.items()), rows)}"


def _of_library(value: Any, path: str) -> str:
    """A function of an installed library that is not written in Python, by its name."""
    name = getattr(value, "__qualname__", getattr(value, "__name__", None))
    module = getattr(value, "__module__", None) or type(value).__module__
    bound = getattr(value, "__self__", None)
    free = bound is None or isinstance(bound, type | types.ModuleType)
    if not (callable(value) and free and isinstance(name, str) and _in_library(module)):
        raise ArgumentError(path, value, _ALLOWED)
    return f"library {module}.{name}"


def _short(qualified: str) -> str:
    """A name without the function around it, which may be renamed."""
    return qualified.rpartition("<locals>.")[2]


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return "an empty cell"


def _members(kind: type) -> Iterator[tuple[str, Any]]:
    """What a class defines, without what Python and `dataclass` generate."""
    for name, value in vars(kind).items():
        inner = inspect.unwrap(getattr(value, "__func__", value))  # of class and static methods
        inner = value.fget if isinstance(value, property) else inner
        if isinstance(inner, types.FunctionType):
            if inner.__code__.co_filename != "<string>":
                yield name, inner
        elif not name.startswith(("__", "_abc_")) and not hasattr(type(value), "__get__"):
            yield name, value
    for field in fields(kind) if is_dataclass(kind) else ():
        if field.default_factory is not MISSING:
            yield f"{field.name} made by", field.default_factory


# Whose code it is


def _in_library(name: str) -> bool:
    """Whether a module is a library's, or one of this folder's, which change no result."""
    top = name.partition(".")[0]
    own = top in (_PACKAGE, "__main__")
    return name.startswith(__package__) or not (own or not _is_installed(_origin(top)))


def _file_of(name: str) -> str | None:
    """The source file of a module of the reader's own or of this package, imported or not."""
    origin = "" if _in_library(name) else _origin(name)
    return origin if origin.endswith(".py") else None


def _origin(name: str) -> str:
    """Where a module lies; empty where that is a folder, or there is no such module."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return ""
    return spec.origin or "" if spec else ""


@functools.lru_cache(maxsize=4096)
def _is_installed(origin: str) -> bool:
    folders = {*Path(os.path.realpath(origin)).parents}
    libraries = {Path(os.path.realpath(path)) for path in _LIBRARIES}
    named = {folder.name for folder in folders} & {"site-packages", "dist-packages"}
    return origin in ("built-in", "frozen") or bool(named or folders & libraries)


def _check_unedited(name: str, source: str) -> None:
    """Make sure that the functions of a module, if it is imported, are those of its source.

    Raises:
        ArgumentError: the file was edited since: what runs would be stored as what the file says.
    """
    module = sys.modules.get(name)
    if module is None or not isinstance(module.__loader__, SourceFileLoader):  # such as pytest's
        return
    kinds = [v for v in vars(module).values() if isinstance(v, type) and v.__module__ == name]
    for value in [v for owner in (module, *kinds) for v in vars(owner).values()]:
        inner = inspect.unwrap(getattr(value, "__func__", value)) if callable(value) else value
        own = (
            isinstance(inner, types.FunctionType) and inner.__code__.co_filename == module.__file__
        )
        if own and _text(inner.__code__) not in _compiled(source):
            changed = f"{name}.{inner.__qualname__}, edited since it was imported"
            raise ArgumentError("experiment", changed, "code as it is run: restart Python")


# Code


@functools.lru_cache(maxsize=4096)
def _of_code(code: types.CodeType) -> str:
    """Digest of a function's syntax tree; of its instructions where its source is not at hand."""
    node = _definition(code)
    return digest(_text(code) if node is None else _unparsed(node))


def _definition(code: types.CodeType) -> ast.AST | None:
    """A function in the syntax tree of its file; None where that is not what is run."""
    source = _source(code.co_filename)
    if _text(code) not in _compiled(source):  # edited since, or rewritten as pytest does
        return None
    defined = ast.FunctionDef | ast.AsyncFunctionDef
    named = [n for n in ast.walk(ast.parse(source)) if getattr(n, "name", "") == code.co_name]
    for node in [node for node in named if isinstance(node, defined)]:
        if code.co_firstlineno in (node.lineno, *(d.lineno for d in node.decorator_list)):
            return node
    return None


def _source(file: str) -> str:
    """Of a file, or of a cell of a notebook; empty where there is none."""
    linecache.checkcache(file)
    return "".join(linecache.getlines(file))


@functools.lru_cache(maxsize=256)
def _compiled(source: str) -> set[str]:
    """The texts of all functions in a source."""
    with contextlib.suppress(SyntaxError):
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT  # as cells may
        return set(map(_text, _codes(compile(source, "", "exec", flags, dont_inherit=True))))
    return set()


@functools.lru_cache(maxsize=256)
def _of_source(source: str, module: str) -> tuple[str, tuple[str, ...]]:
    """Digest of a module's code, and what it imports."""
    tree = ast.parse(source)
    return digest(_unparsed(tree)), tuple(sorted(_imported(tree, module)))


def _unparsed(tree: ast.AST) -> str:
    """A syntax tree as text, without docstrings, which it loses."""
    for node in ast.walk(tree):
        documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def _text(code: types.CodeType) -> str:
    """A code object as text, without its docstring and its place in the file."""
    texts = [_text(c) if isinstance(c, types.CodeType) else _constant(c) for c in code.co_consts]
    documented = sys.version_info < (3, 13) or code.co_flags & 0x4000000  # CO_HAS_DOCSTRING
    if documented and code.co_name[0] != "<" and isinstance(next(iter(code.co_consts), 0), str):
        texts[0] = "None"
    names = (code.co_name, code.co_names, code.co_varnames, code.co_freevars, code.co_argcount)
    return f"{code.co_code.hex()} {names} {code.co_kwonlyargcount} {code.co_flags} {texts}"


def _constant(value: Any) -> str:
    return str(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """A function's code and that of the functions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _globals_of(code: types.CodeType) -> set[str]:
    steps = (step for inner in _codes(code) for step in dis.get_instructions(inner))
    return {step.argval for step in steps if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}


def _imported(tree: ast.AST, importer: str) -> set[str]:
    """Names of modules, and of what may be modules, that a source imports anywhere."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = importer.split(".")[: -node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found.update([base, *(f"{base}.{alias.name}" for alias in node.names)])
    return found
