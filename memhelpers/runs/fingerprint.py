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
_STDLIB = os.path.join(os.path.realpath(sysconfig.get_path("stdlib")), "")
_PLAIN = (type(None), bool, int, float, complex, str, bytes, range, slice)
_BY_REPR = (torch.dtype, np.dtype, np.generic, enum.Enum)
_ALLOWED = (
    "what can be pinned down: numbers, texts, tuples, lists, dicts, arrays, tensors, tables, data "
    "sets and functions; make anything else inside the function, or pass what it is made from as a "
    "parameter of the run"
)
_FUNCTION_IN = {  # where these keep the function that they are made from
    property: "fget",
    functools.cached_property: "func",
    staticmethod: "__func__",
    classmethod: "__func__",
}


def lines(named: Mapping[str, Any]) -> list[str]:
    """Everything that determines what the named functions give and what the named values are.

    Of a function that is defined in a notebook or a script, its code counts and that of what it
    refers to by globals, closures and defaults; of one that is imported, the whole module counts,
    and the reader's own modules that it imports; of an installed library, the name. The code of
    `engine` always counts, as a whole; that of `runs`, which changes no result, never.

    Raises:
        ArgumentError: a value that says nothing of what it will do, such as an open file, a random
            generator or a network with its weights; or a module was edited since it was imported.
    """
    walk = Walk()
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

    def __init__(self) -> None:
        self.used: set[str] = set()
        self.modules: dict[str, str] = {}
        self.seen: set[Hashable] = set()
        self.inside: set[int] = set()  # functions that refer to themselves

    def pin(self, value: Any, path: str) -> str:
        """A short text that changes with the value; `path` names it in errors."""
        kind = type(value).__name__
        if isinstance(value, _PLAIN):
            text = repr(value)
            return text if len(text) <= 60 else f"{kind} {digest(text)}"
        if isinstance(value, _BY_REPR):
            return f"{kind} {value!r}"
        if isinstance(value, torch.device):
            return "device"  # where is no part of what
        if isinstance(value, Tensor):
            return _of_tensor(value)
        if isinstance(value, np.ndarray) and not value.dtype.hasobject:
            return f"array {digest(str(value.dtype), str(value.shape), value.tobytes())}"
        if isinstance(value, pd.DataFrame | pd.Series):
            table = pd.DataFrame(value)
            columns = [(name, column.to_numpy()) for name, column in table.items()]
            return f"table of {self.pin([table.index.to_numpy(), columns], path)}"
        if isinstance(value, Path) and value.is_file():
            return f"file {digest(value.read_bytes())}"
        if isinstance(value, Mapping):
            return f"{kind} of {self.pin(list(value.items()), path)}"
        if isinstance(value, list | tuple | set | frozenset | np.ndarray):
            tokens = [self.pin(item, f"{path}[{place}]") for place, item in enumerate(value)]
            tokens = sorted(tokens) if isinstance(value, set | frozenset) else tokens
            return f"{kind} of {len(tokens)} {digest(*tokens)}"
        return self._code(value, path)

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
        if hasattr(value, "fingerprint") and hasattr(value, "classes"):
            masks = [_of_tensor(mask) for mask in (value.replaced, value.changed)]
            return f"dataset {value.fingerprint} {digest(*value.classes, *masks)}"
        if is_dataclass(value):
            state = {field.name: getattr(value, field.name) for field in fields(value)}
            return f"{self.pin(type(value), path)} {self.pin(state, path)}"
        name, bound = getattr(value, "__qualname__", ""), getattr(value, "__self__", None)
        module = getattr(value, "__module__", None) or type(value).__module__
        free = bound is None or isinstance(bound, type | types.ModuleType)
        if callable(value) and name and free and _file_of(module) is None:
            return f"library {module}.{name}"  # not written in Python
        raise ArgumentError(path, value, _ALLOWED)

    def _function(self, function: types.FunctionType, path: str) -> str:
        # Not `__module__`, which decorators such as `torch.no_grad()` copy from what they wrap.
        module = function.__globals__.get("__name__", "")
        code, name = function.__code__, _short(function.__qualname__)
        file = _file_of(module)
        if file is None:
            wrapped = getattr(function, "__wrapped__", None)
            return f"library {module}.{name}" + (f" {self.pin(wrapped, path)}" if wrapped else "")
        token = f"{name} {_of_code(code)}"
        if file:
            self.module(module)
        elif token not in self.seen:
            self.seen.add(token)
            self._globals(function, token)
        if id(function) in self.inside:
            return token
        cells = zip(code.co_freevars, function.__closure__ or (), strict=True)
        held = {variable: cell.cell_contents for variable, cell in cells}
        held["defaults"] = (function.__defaults__, function.__kwdefaults__)
        self.inside.add(id(function))
        try:
            tokens = [f"{k} {self.pin(value, f'{name}: {k}')}" for k, value in held.items()]
        finally:
            self.inside.remove(id(function))
        return f"function {name} {digest(token, *tokens)}"

    def _globals(self, function: types.FunctionType, token: str) -> None:
        """Note what a function of a notebook or a script refers to by name."""
        code, found, name = function.__code__, function.__globals__, _short(function.__qualname__)
        steps = [step for inner in _codes(code) for step in dis.get_instructions(inner)]
        loaded = {s.argval for s in steps if s.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
        for variable in sorted(loaded & found.keys()):
            value = found[variable]
            self.used.add(f"{token}: {variable} = {self.pin(value, f'{name}: {variable}')}")
            for attribute in code.co_names if inspect.ismodule(value) else ():
                if f"{value.__name__}.{attribute}" in sys.modules:
                    self.module(f"{value.__name__}.{attribute}")
        node = _definition(code)
        for module in _imported(node, "") if node else ():
            self.module(module)

    def _class(self, kind: type, path: str) -> str:
        module, name = kind.__module__, _short(kind.__qualname__)
        file = _file_of(module)
        if file is None:
            return f"library {module}.{name}"
        if file:
            self.module(module)
        elif kind not in self.seen:
            self.seen.add(kind)
            for member, value in [("bases", kind.__bases__), *_members(kind)]:
                token = self.pin(value, f"{name}: {member}")
                self.used.add(f"class {name}: {member} = {token}")
        return f"class {name}"

    def module(self, name: str) -> None:
        """Note the source of a module and of those that it imports, if they are the reader's."""
        file = _file_of(name)
        if not file or name in self.modules:
            return
        source = _source(file)
        _check_unedited(name, source)
        self.modules[name], imported = _of_source(source, name)
        for other in imported:
            self.module(other)


def _of_tensor(tensor: Tensor) -> str:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    content = flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
    return f"tensor {digest(str(tensor.dtype), str(list(tensor.shape)), content)}"


def _short(qualified: str) -> str:
    """A name without the function around it, which may be renamed."""
    return qualified.rpartition("<locals>.")[2]


def _members(kind: type) -> Iterator[tuple[str, Any]]:
    """The functions and values of a class, without what Python and `dataclass` generate."""
    for name, value in vars(kind).items():
        inner = getattr(value, _FUNCTION_IN.get(type(value), ""), value)
        if isinstance(inner, types.FunctionType):
            if inner.__code__.co_filename != "<string>":
                yield name, inner
        elif not name.startswith(("__", "_abc_")) and not inspect.ismemberdescriptor(value):
            yield name, inner
    for field in fields(kind) if is_dataclass(kind) else ():
        if field.default_factory is not MISSING:
            yield f"{field.name} made by", field.default_factory


# Whose code it is


def _file_of(name: str) -> str | None:
    """The source file of a module; "" of a notebook or a script, None of an installed library.

    The modules of this folder, which change no result, count as a library's.
    """
    top = name.partition(".")[0]
    installed = top not in (_PACKAGE, "__main__") and _is_installed(_origin(top))
    if installed or name.startswith(__package__):
        return None
    origin = "" if top == "__main__" else _origin(name)
    return origin if origin.endswith(".py") else ""


def _origin(name: str) -> str:
    """Where a module lies; empty where that is a folder, or there is no such module."""
    with contextlib.suppress(ImportError, ValueError, AttributeError):
        spec = importlib.util.find_spec(name)
        return spec.origin or "" if spec else ""
    return ""


def _is_installed(origin: str) -> bool:
    path = os.path.realpath(origin)
    in_folder = path.startswith(_STDLIB) or f"-packages{os.sep}" in path  # site- or dist-packages
    return in_folder or origin in ("built-in", "frozen")


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
        inner = getattr(value, _FUNCTION_IN.get(type(value), "__wrapped__"), value)
        if not isinstance(inner, types.FunctionType):
            continue
        own = inner.__code__.co_filename == module.__file__
        if own and inner.__code__ not in _compiled(source):
            changed = f"{name}.{inner.__qualname__}, edited since it was imported"
            raise ArgumentError("experiment", changed, "code as it is run: restart Python")


# Code


@functools.lru_cache(maxsize=4096)
def _of_code(code: types.CodeType) -> str:
    """Digest of a function: of its syntax tree or, without a source, of its instructions."""
    node = _definition(code)
    return digest(_unparsed(node) if node else _instructions(code))


def _definition(code: types.CodeType) -> ast.AST | None:
    """Where a function is defined; None of a lambda, or where the source is not what runs."""
    source = _source(code.co_filename)
    if code not in _compiled(source):
        return None
    for node in ast.walk(ast.parse(source)):
        if getattr(node, "name", "") == code.co_name and hasattr(node, "decorator_list"):
            starts = {node.lineno, *(decorator.lineno for decorator in node.decorator_list)}
            if code.co_firstlineno in starts:
                return node
    return None


def _instructions(code: types.CodeType) -> str:
    """A code object as text, without its place in the file."""
    names = (code.co_name, code.co_names, code.co_varnames, code.co_freevars)
    counts = (code.co_argcount, code.co_kwonlyargcount, code.co_flags)
    texts = []
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            texts.append(_instructions(constant))
        else:  # a set is in another order in each process
            is_set = isinstance(constant, frozenset)
            texts.append(str(sorted(map(repr, constant))) if is_set else repr(constant))
    return f"{code.co_code.hex()} {names} {counts} {texts}"


def _source(file: str) -> str:
    """Of a file, or of a cell of a notebook; empty where there is none."""
    linecache.checkcache(file)
    return "".join(linecache.getlines(file))


@functools.lru_cache(maxsize=256)
def _compiled(source: str) -> set[types.CodeType]:
    """All functions in a source; they are equal where code and line numbers are."""
    with contextlib.suppress(SyntaxError):  # such as the cell of another kernel
        return set(_codes(compile(source, "", "exec", dont_inherit=True)))
    return set()


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """A function's code and that of the functions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


@functools.lru_cache(maxsize=256)
def _of_source(source: str, module: str) -> tuple[str, set[str]]:
    """Digest of a module's code, and what it imports."""
    tree = ast.parse(source)
    return digest(_unparsed(tree)), _imported(tree, module)


def _unparsed(tree: ast.AST) -> str:
    """A syntax tree as text, without docstrings, which it loses."""
    for node in ast.walk(tree):
        documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


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
