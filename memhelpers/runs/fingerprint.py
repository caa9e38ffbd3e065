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
import itertools
import linecache
import os
import pkgutil
import sys
import sysconfig
import types
from collections.abc import Hashable, Iterable, Iterator, Mapping
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
# Where these keep the function that they are made from; static and class methods, as what wraps.
_FUNCTION_IN = {property: "fget", functools.cached_property: "func"}


def lines(named: Mapping[str, Any]) -> list[str]:
    """Everything that determines what the named functions give and what the named values are.

    Of a function that is defined in a notebook or a script, its code counts and that of what it
    refers to by globals, closures and defaults; of one that is imported, the whole module counts,
    and the reader's own modules that it imports; of an installed library, the name. The code of
    `engine` always counts, as a whole; that of `runs`, which changes no result, never.

    Raises:
        ArgumentError: a value that cannot be pinned down, such as an open file or a random
            generator; or a module was edited since it was imported.
    """
    walk = Walk()
    for module in pkgutil.iter_modules(engine.__path__, f"{engine.__name__}."):
        walk.module(module.name)
    found = {f"{name} = {walk.pin(value, name)}" for name, value in named.items()}
    sources = {f"{name} = source {code}" for name, code in walk.modules.items()}
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
    """What a template computes: its layers, their settings (see `Walk.pin`) and sizes."""
    parts: list[Hashable] = [repr(network)]
    for name, layer in network.named_modules():
        settings = {k: v for k, v in vars(layer).items() if k[0] != "_" and k != "training"}
        parts += [type(layer), name, walk.pin(settings, name)]
    parts += [f"{name} {list(p.shape)} {p.requires_grad}" for name, p in network.named_parameters()]
    parts += [f"{name} {_of_tensor(buffer)}" for name, buffer in network.named_buffers()]
    return tuple(parts)


class Walk:
    """One walk over all that is referred to, each once; not to be used again after an error."""

    def __init__(self) -> None:
        self.used: set[str] = set()  # lines for what functions and classes refer to
        self.modules: dict[str, str] = {}  # digests of the code of the reader's own modules
        self.tokens: dict[Any, str] = {}  # of functions and classes

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
            table = pd.DataFrame(value).reset_index(allow_duplicates=True)
            columns = [(name, column.to_numpy()) for name, column in table.items()]
            return f"table of {self.pin(columns, path)}"
        if isinstance(value, Path):
            if not value.is_file():
                raise ArgumentError(path, str(value), "a file that is there")
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
        if isinstance(value, types.FunctionType | type):
            if value not in self.tokens:
                pinned = self._class if isinstance(value, type) else self._function
                self.tokens[value] = pinned(value)
            return self.tokens[value]
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

    def _function(self, function: types.FunctionType) -> str:
        code, name = function.__code__, function.__name__
        # Not `__module__`, which decorators such as `torch.no_grad()` copy from what they wrap.
        module = function.__globals__.get("__name__", "")
        file = _file_of(module)
        if file is None:
            wrapped = getattr(function, "__wrapped__", None)
            token = f"library {module}.{function.__qualname__}"
            return f"{token} {self.pin(wrapped, name)}" if wrapped else token
        # At once, for functions that refer to themselves.
        token = self.tokens[function] = f"function {name} {_of_code(code)}"
        cells = zip(code.co_freevars, function.__closure__ or (), strict=True)
        held = [(variable, cell.cell_contents) for variable, cell in cells]
        held.append(("defaults", (function.__defaults__, function.__kwdefaults__)))
        if file:
            self.module(module)
        else:
            held += self._globals(function)
        return f"{token} {self._note(token, name, held)}"

    def _globals(self, function: types.FunctionType) -> list[tuple[str, Any]]:
        """What a function of a notebook or a script refers to by name; notes imported modules."""
        codes = list(_codes(function.__code__))
        steps = [(s.opname, s.argval) for code in codes for s in dis.get_instructions(code)]
        loaded = {name for step, name in steps if step in ("LOAD_GLOBAL", "LOAD_NAME")}
        held = [(k, function.__globals__[k]) for k in sorted(loaded & function.__globals__.keys())]
        modules = {value.__name__ for _, value in held if inspect.ismodule(value)}
        modules |= {name for step, name in steps if step == "IMPORT_NAME"}
        for module, code in itertools.product(modules, codes):
            for name in [module, *(f"{module}.{attribute}" for attribute in code.co_names)]:
                self.module(name)
        return held

    def _class(self, kind: type) -> str:
        module, name = kind.__module__, kind.__qualname__
        file = _file_of(module)
        if file is None:
            return f"library {module}.{name}"
        token = self.tokens[kind] = f"class {kind.__name__}"  # at once: its methods may refer to it
        if file:
            self.module(module)
            return f"class {name}"
        return f"{token} {self._note(token, kind.__name__, _members(kind))}"

    def _note(self, token: str, name: str, held: Iterable[tuple[str, Any]]) -> str:
        """Digest of what a function or a class refers to, of which each gets a line."""
        lines = [f"{token}: {k} = {self.pin(value, f'{name}: {k}')}" for k, value in held]
        self.used.update(lines)
        return digest(*lines)

    def module(self, name: str) -> None:
        """Note the code of a module and of those that it imports, if they are the reader's."""
        file = _file_of(name)
        if not file or name in self.modules:
            return
        source, is_package = _source(file), os.path.basename(file) == "__init__.py"
        package = name if is_package else name.rpartition(".")[0]
        self.modules[name], imported = _of_source(source, package)
        if name in sys.modules:
            _check_unedited(sys.modules[name], source, self.modules[name])
        for other in imported:
            self.module(other)


def _of_tensor(tensor: Tensor) -> str:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    content = flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
    return f"tensor {digest(str(tensor.dtype), str(list(tensor.shape)), content)}"


def _members(kind: type) -> Iterator[tuple[str, Any]]:
    """Bases, functions and values of a class, without what Python and `dataclass` generate."""
    yield "bases", kind.__bases__
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


def _file_of(name: str) -> str | None:
    """The source file of a module; "" of a notebook or a script, None of an installed library.

    The modules of this folder, which change no result, count as a library's.
    """
    top = name.partition(".")[0]
    if top == "__main__":
        return ""
    place = _origin(top)
    path = os.path.realpath(place)
    installed = place in ("built-in", "frozen") or path.startswith(_STDLIB)
    installed |= f"-packages{os.sep}" in path  # site- or dist-packages
    if name.startswith(__package__) or (installed and top != _PACKAGE):
        return None
    origin = _origin(name)
    return origin if origin.endswith(".py") else ""


def _origin(name: str) -> str:
    """Where a module lies; empty where that is a folder, or there is no such module."""
    with contextlib.suppress(ImportError, ValueError, AttributeError):
        spec = importlib.util.find_spec(name)
        return spec.origin or "" if spec else ""
    return ""


def _check_unedited(module: types.ModuleType, source: str, code: str) -> None:
    """Refuse a module whose file was edited since: what runs would be stored as what it says.

    Its functions are compared, and the digest `code` with that of the first time it was asked for.
    """
    name, edited = module.__name__, []
    if vars(module.__spec__).setdefault("_code_when_first_seen", code) != code:
        edited = [name]
    kinds = [v for v in vars(module).values() if isinstance(v, type) and v.__module__ == name]
    for value in [v for owner in (module, *kinds) for v in vars(owner).values()]:
        inner = getattr(value, _FUNCTION_IN.get(type(value), "__wrapped__"), value)
        own = getattr(inner, "__code__", None)
        if own and own.co_filename == module.__file__ and own not in _compiled(source):
            edited.append(f"{name}.{inner.__qualname__}")
    # What another loader than Python's own has made of a source, such as pytest's, is not compared.
    if edited and isinstance(module.__loader__, SourceFileLoader):
        given = f"{edited[-1]}, edited since it was imported"
        raise ArgumentError("experiment", given, "code as it is run: restart Python")


@functools.lru_cache(maxsize=4096)
def _of_code(code: types.CodeType) -> str:
    """Digest of a function: of its syntax tree, if its source has it, or of its instructions."""
    source = _source(code.co_filename)
    for node in ast.walk(ast.parse(source)) if code in _compiled(source) else ():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == code.co_name:
            starts = [place.lineno for place in (node, *node.decorator_list)]
            if code.co_firstlineno in starts:
                return digest(_unparsed(node))
    return digest(_instructions(code))


def _instructions(code: types.CodeType) -> str:
    """The code of a lambda, or of a function without source, as text; without its place."""
    text = ""
    for one in _codes(code):
        names = (one.co_name, one.co_names, one.co_varnames, one.co_freevars)
        counts = (one.co_argcount, one.co_kwonlyargcount, one.co_flags)
        # A set is in another order in each process.
        constants = [sorted(map(repr, c)) if isinstance(c, frozenset) else c for c in one.co_consts]
        plain = [repr(c) for c in constants if not isinstance(c, types.CodeType)]
        text += f"{one.co_code.hex()} {names} {counts} {plain}\n"
    return text


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
def _of_source(source: str, package: str) -> tuple[str, set[str]]:
    """Digest of a module's code, and what it imports."""
    tree = ast.parse(source)
    return digest(_unparsed(tree)), _imported(tree, package)


def _unparsed(tree: ast.AST) -> str:
    """A syntax tree as text, without docstrings, which it loses."""
    for node in ast.walk(tree):
        documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def _imported(tree: ast.AST, package: str) -> set[str]:
    """Names of modules, and of what may be modules, that a source imports anywhere."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            with contextlib.suppress(ImportError):  # beyond the top: what follows is tried instead
                base = importlib.util.resolve_name(base, package)
                found.update([base, *(f"{base}.{alias.name}" for alias in node.names)])
    return found
