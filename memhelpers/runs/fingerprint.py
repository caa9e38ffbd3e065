"""What a result depends on, as text: the code of functions, and the values that they use.

`sweep` stores each run under a hash of it, so that a run is done again when something that
determines it has changed, and only then. Comments, docstrings and layout do not count, nor does the
device, nor the version of Python, torch or another library.
"""

import ast
import builtins
import contextlib
import dis
import enum
import functools
import hashlib
import importlib.util
import inspect
import linecache
import os
import sys
import sysconfig
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from memhelpers.data import Dataset
from memhelpers.engine.ensemble import Ensemble
from memhelpers.errors import ArgumentError
from memhelpers.inputs import sources

PACKAGE = "memhelpers"
# They store, show, draw and pack, and change no result but by rounding; of `sweep` its functions
# count one by one.
_APART = ("charts", "lab", "engine.packing", "page.figures", "runs.files", "runs.records")
_APART += ("runs.machine", "runs.store", "runs.fingerprint", "sweep")
APART = {f"{PACKAGE}.{name}" for name in _APART}
_BY_FUNCTION = f"{PACKAGE}.sweep"

_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis), range, slice)
_BY_REPR = (torch.dtype, torch.Size, np.dtype, np.generic, enum.Enum, types.GenericAlias)
_GENERATED = {"__init__", "__repr__", "__eq__", "__hash__", "__lt__", "__le__", "__gt__", "__ge__"}
_GENERATED |= {"__setattr__", "__delattr__", "__replace__", "__new__", "__getnewargs__"}
_ALLOWED = (
    "what can be pinned down: numbers, texts, tuples, lists, dicts, arrays, tensors, tables, data "
    "sets and functions; make anything else inside the function, or pass what it is made from as a "
    "parameter of the run"
)


def of(named: Mapping[str, Any]) -> list[str]:
    """Everything that determines what the named functions give and what the named values are.

    Followed are the functions and classes that a function refers to by globals, closures and
    defaults, in whatever file of the reader's own; modules as a whole, with those that they import,
    where the function refers to a module; other libraries by name only. Of `memhelpers` the modules
    count that are used, and always `training`.

    Args:
        named: functions, data sets and other values, by a name for each.

    Returns:
        Lines such as "experiment = function network_of 3f2a90c1d2e4b5a6", sorted.

    Raises:
        ArgumentError: a value that says nothing of what it will do, such as an open file, a random
            generator or a network with its weights.
    """
    walk = _Walk()
    walk.module(f"{PACKAGE}.training")
    for name, value in named.items():
        walk.note(name, name, value)
    return sorted(walk.lines)


def digest(*parts: str | bytes) -> str:
    """16 hexadecimal digits for some texts."""
    hashed = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        hashed.update(f"{len(content)}|".encode())
        hashed.update(content)
    return hashed.hexdigest()[:16]


def architecture(network: nn.Module) -> str:
    """Digest of what a template computes: its layers, their settings and sizes, not its weights.

    Raises:
        ArgumentError: a layer has a setting that cannot be pinned down.
    """
    walk = _Walk()
    parts = [repr(network)]
    for name, module in network.named_modules():
        settings = {k: v for k, v in vars(module).items() if k[0] != "_" and k != "training"}
        parts.append(f"{name} {walk.pin(type(module), name)} {walk.pin(settings, name)}")
    parts += [f"{name} {list(p.shape)} {p.requires_grad}" for name, p in network.named_parameters()]
    parts += [f"{name} {_of_tensor(buffer)}" for name, buffer in network.named_buffers()]
    return digest(*parts, *sorted(walk.lines))


class _Walk:
    """One walk over everything that is referred to; each thing is looked at once."""

    def __init__(self) -> None:
        self.lines: set[str] = set()
        self.seen: set[object] = set()
        self.open: list[int] = []  # containers that the walk is inside of

    def note(self, owner: str, name: str, value: Any) -> None:
        """Add the line that says what `name` is where `owner` uses it."""
        user = owner.split(" ")[1] if " " in owner else owner
        token = self.pin(value, owner if owner == name else f"{user}: {name}")
        self.lines.add(f"{owner} = {token}" if owner == name else f"{owner}: {name} = {token}")

    def pin(self, value: Any, path: str) -> str:
        """A short text that changes with the value; `path` names it in errors."""
        if isinstance(value, _PLAIN):
            return self._plain(value)
        if isinstance(value, _BY_REPR):
            return f"{type(value).__name__} {value!r}"
        for kinds, pinned in self._kinds():
            if isinstance(value, kinds):
                return pinned(value, path)
        return self._other(value, path)

    def _kinds(self) -> list[tuple[Any, Callable[[Any, str], str]]]:
        return [
            (Dataset, lambda data, path: _of_dataset(data)),
            (Tensor, lambda tensor, path: _of_tensor(tensor)),
            (np.ndarray, self._array),
            ((pd.DataFrame, pd.Series, pd.Index), self._frame),
            (torch.device, lambda device, path: "device"),  # where is no part of what
            (os.PathLike, lambda path, _: _of_file(Path(path))),
            (Mapping, self._mapping),
            ((list, tuple), self._sequence),
            ((set, frozenset), self._set),
            (types.ModuleType, lambda module, path: self.module(module.__name__)),
            (types.FunctionType, self._function),
            (types.MethodType, self._method),
            (functools.partial, self._partial),
            (type, self._class),
            (Ensemble, self._ensemble),
        ]

    def _plain(self, value: Any) -> str:
        text = repr(value)
        if isinstance(value, str) and value.endswith(".npz"):  # `load` takes it for a file
            found = [p for p in (Path(value), sources.data_folder() / value) if p.is_file()]
            text += " " + _of_file(found[0]) if found else ""
        return text if len(text) <= 60 else f"{type(value).__name__} {digest(text)}"

    def _array(self, array: np.ndarray, path: str) -> str:
        if array.dtype.hasobject:
            return f"array {array.shape} {self.pin(array.tolist(), path)}"
        content = np.ascontiguousarray(array).tobytes()
        return f"array {digest(str(array.dtype), str(array.shape), content)}"

    def _frame(self, frame: Any, path: str) -> str:
        table = frame if isinstance(frame, pd.DataFrame) else frame.to_frame()
        try:
            rows = pd.util.hash_pandas_object(table).to_numpy().tobytes()
        except TypeError:
            raise ArgumentError(path, table, _ALLOWED) from None
        names = [f"{name!r} {dtype}" for name, dtype in table.dtypes.items()]
        return f"table {digest(*names, rows)}"

    def _mapping(self, value: Mapping, path: str) -> str:
        items = [(self.pin(k, path), self.pin(v, f"{path}[{k!r}]")) for k, v in self._in(value)]
        kind = self.pin(type(value), path)
        return f"{kind} {digest(*(text for item in items for text in item))}"

    def _sequence(self, value: list | tuple, path: str) -> str:
        items = [self.pin(v, f"{path}[{k}]") for k, v in self._in(value)]
        kind, short = self.pin(type(value), path), ", ".join(items)
        return f"{kind} ({short})" if len(short) <= 60 else f"{kind} {digest(*items)}"

    def _in(self, value: Any) -> Iterator[tuple[Any, Any]]:
        """What a container holds; nothing where the walk is inside of it already."""
        if id(value) in self.open:
            return
        self.open.append(id(value))
        yield from value.items() if isinstance(value, Mapping) else enumerate(value)
        self.open.pop()

    def _set(self, value: set | frozenset, path: str) -> str:
        return f"set {digest(*sorted(self.pin(item, path) for item in value))}"

    def _ensemble(self, ensemble: Ensemble, path: str) -> str:
        weights = ensemble.parameters | ensemble.buffers
        stacked = [f"{name} {_of_tensor(value)}" for name, value in weights.items()]
        return f"ensemble {digest(architecture(ensemble.network), *stacked)}"

    def _method(self, method: types.MethodType, path: str) -> str:
        return f"method {self.pin(method.__func__, path)} of {self.pin(method.__self__, path)}"

    def _partial(self, partial: functools.partial, path: str) -> str:
        given = (partial.func, partial.args, partial.keywords)
        return f"partial {digest(self.pin(given, path))}"

    def _other(self, value: Any, path: str) -> str:
        if callable(getattr(value, "__wrapped__", None)):  # such as a cached function
            return f"{type(value).__name__} of {self.pin(value.__wrapped__, path)}"
        bound = getattr(value, "__self__", None)
        if bound is not None and not isinstance(bound, types.ModuleType):
            return f"method {value.__name__} of {self.pin(bound, path)}"
        if is_dataclass(value):
            state = {field.name: getattr(value, field.name) for field in fields(value)}
            return f"{self.pin(type(value), path)} {self.pin(state, path)}"
        if _of_library(value) and callable(value) and _called(value):
            return f"library {_called(value)}"
        if hasattr(value, "__dict__") and not isinstance(value, nn.Module) and _own(type(value)):
            return f"{self.pin(type(value), path)} {self.pin(vars(value), path)}"
        raise ArgumentError(path, value, _ALLOWED)

    def _function(self, function: types.FunctionType, path: str) -> str:
        code = function.__code__
        wrapped = getattr(function, "__wrapped__", None)
        inner = f" of {self.pin(wrapped, path)}" if wrapped is not None else ""
        if _in_library(code.co_filename, function.__module__):
            name = _called(function) if wrapped is None else code.co_qualname
            return f"library {name}{inner}"
        name = f"function {_short(function.__qualname__)} {_of_code(code)}"
        if function not in self.seen:
            self.seen.add(function)
            self._references(function, name)
        return name + inner

    def _references(self, function: types.FunctionType, name: str) -> None:
        given = (function.__defaults__, function.__kwdefaults__)
        if any(given):
            self.note(name, "defaults", given)
        for variable, cell in zip(
            function.__code__.co_freevars, function.__closure__ or (), strict=True
        ):
            self.note(name, variable, _content(cell))
        module = function.__module__ or ""
        if module.startswith(f"{PACKAGE}.") and module != _BY_FUNCTION:
            self.lines.add(f"{name}: of {self.module(module)}")
            return  # the module as a whole says what its globals are
        for variable in sorted(_globals_of(function.__code__)):
            if variable in function.__globals__:
                self._global(name, variable, function)
            elif not hasattr(builtins, variable):
                self.lines.add(f"{name}: {variable} is not defined")
        for imported in sorted(_imports_of(function.__code__)):
            self.lines.add(f"{name}: imports {self.module(imported)}")

    def _global(self, name: str, variable: str, function: types.FunctionType) -> None:
        value = function.__globals__[variable]
        self.note(name, variable, value)
        if isinstance(value, types.ModuleType) and hasattr(value, "__path__"):
            for attribute in sorted(_names_of(function.__code__)):
                inner = f"{value.__name__}.{attribute}"
                if inner in sys.modules:
                    self.note(name, inner, sys.modules[inner])

    def _class(self, kind: type, path: str) -> str:
        if _of_library(kind):
            return f"library {_called(kind)}".removeprefix("library builtins.")
        name = f"class {_short(kind.__qualname__)}"
        if kind.__module__.startswith(f"{PACKAGE}."):
            return f"{name} of {self.module(kind.__module__)}"
        if kind not in self.seen:
            self.seen.add(kind)
            for base in kind.__bases__:
                self.note(name, f"base {base.__name__}", base)
            for attribute, value in sorted(_members(kind).items()):
                self.note(name, attribute, value)
        return name

    def module(self, name: str) -> str:
        """Note a module's source and the modules that it imports, if it is not a library's."""
        file = _file_of(name)
        if name in APART or file is None or _in_library(file, name):
            return f"module {name}"
        if name not in self.seen:
            self.seen.add(name)
            _check_loaded(name, _source(file))
            digested, imported = _of_source(_source(file), name)
            self.lines.add(f"module {name} = {digested}")
            for other in imported:
                self.module(other)
        return f"module {name}"


def _of_dataset(data: Dataset) -> str:
    masks = [_of_tensor(mask) for mask in (data.replaced, data.changed)]
    return f"dataset {data.fingerprint} {digest(*data.classes, *masks)}"


def _of_tensor(tensor: Tensor) -> str:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    content = flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
    return f"tensor {digest(str(tensor.dtype), str(list(tensor.shape)), content)}"


def _of_file(path: Path) -> str:
    if not path.is_file():
        return f"path {path.name}"
    with path.open("rb") as file:
        return f"file {hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"


def _short(qualified: str) -> str:
    """A name without the function around it, and without the module: both may be renamed."""
    return qualified.rpartition("<locals>.")[2]


def _called(value: Any) -> str:
    name = getattr(value, "__qualname__", getattr(value, "__name__", None))
    module = getattr(value, "__module__", None) or type(value).__module__
    return f"{module}.{name}" if isinstance(name, str) else ""


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return "an empty cell"


# Whose code it is


@functools.cache
def _library_folders() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    return tuple({os.path.realpath(paths[name]) + os.sep for name in names})


def _in_library(file: str, module: str | None) -> bool:
    if (module or "").startswith(f"{PACKAGE}."):
        return False
    return _is_installed(file)


@functools.lru_cache(maxsize=4096)
def _is_installed(file: str) -> bool:
    path = os.path.realpath(file)
    installed = {"site-packages", "dist-packages"} & {*Path(path).parts}
    return path.startswith(_library_folders()) or bool(installed)


def _of_library(value: Any) -> bool:
    """Whether a class, or another thing that knows its module, belongs to an installed library."""
    name = getattr(value, "__module__", None) or type(value).__module__
    if name == "builtins":
        return True
    if name.partition(".")[0] in ("__main__", PACKAGE):
        return False
    module = sys.modules.get(name)
    if module is None:  # a namespace in which a chapter's cells were executed
        return False
    file = getattr(module, "__file__", None)
    return file is None or _in_library(file, name)


def _own(kind: type) -> bool:
    """Whether a class is the reader's own: what its instances do is then in view."""
    return not _of_library(kind) and not kind.__module__.startswith(f"{PACKAGE}.")


def _file_of(name: str) -> str | None:
    """The source file of a module, imported or not; None where there is none, or no such module."""
    module = sys.modules.get(name)
    if module is not None:
        return _python(getattr(module, "__file__", None))
    top = name.partition(".")[0]
    if top != name and top != PACKAGE and _of_library(sys.modules.get(top, builtins)):
        return None  # to look for it would import what it belongs to
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return None
    return _python(spec.origin) if spec else None


def _python(file: str | None) -> str | None:
    return file if file and file.endswith(".py") else None


def _members(kind: type) -> dict[str, Any]:
    """What a class defines, without what Python and `dataclass` generate."""
    found: dict[str, Any] = {}
    for name, value in vars(kind).items():
        inner = inspect.unwrap(getattr(value, "__func__", value))  # of class and static methods
        if isinstance(inner, types.FunctionType):
            if not (inner.__code__.co_filename.startswith("<") and name in _GENERATED):
                found[name] = inner
        elif isinstance(value, property):
            found[name] = (value.fget, value.fset, value.fdel)
        elif isinstance(value, functools.cached_property):
            found[name] = value.func
        elif not name.startswith(("__", "_abc_")) and not hasattr(type(value), "__get__"):
            found[name] = value
    for field in getattr(kind, "__dataclass_fields__", {}).values():
        made = None if field.default_factory is MISSING else field.default_factory
        found[f"field {field.name}"] = (field.name, field.init, field.kw_only, made)
    return found


# Code


def _of_code(code: types.CodeType) -> str:
    """Digest of a function's syntax tree; of its instructions where its source is not at hand."""
    node = None if code.co_name == "<lambda>" else _definition(code)
    return digest(_canonical(node)) if node is not None else digest(_instructions(code))


def _check_loaded(name: str, source: str) -> None:
    """Make sure that the functions of a module, if it is imported, are those of its source.

    Raises:
        ArgumentError: the file was edited since: what runs would be stored as what the file says.
    """
    written = _compiled(source)
    for function in _functions_of(sys.modules.get(name)):
        known = written.get(function.__code__.co_qualname)
        if known and _instructions(function.__code__) not in known:
            changed = f"{name}.{function.__qualname__}, edited since it was imported"
            raise ArgumentError("experiment", changed, "code as it is run: restart Python")


def _functions_of(module: types.ModuleType | None) -> Iterator[types.FunctionType]:
    """The functions and methods that a module defines."""
    found = [v for v in vars(module).values() if _defined_in(v, module)] if module else []
    for value in found:
        members = _members(value).values() if isinstance(value, type) else [value]
        for member in members:
            inner = inspect.unwrap(member) if callable(member) else member
            if isinstance(inner, types.FunctionType) and _defined_in(inner, module):
                yield inner


def _defined_in(value: Any, module: types.ModuleType) -> bool:
    return getattr(value, "__module__", None) == module.__name__


@functools.lru_cache(maxsize=256)
def _compiled(source: str) -> dict[str, set[str]]:
    """For each function in a source, by qualified name, the instructions that it may have."""
    found: dict[str, set[str]] = {}
    with contextlib.suppress(SyntaxError):  # such as a notebook's cell that awaits
        for code in _codes(compile(source, "<source>", "exec", dont_inherit=True)):
            found.setdefault(code.co_qualname, set()).add(_instructions(code))
    return found


def _definition(code: types.CodeType) -> ast.AST | None:
    """A function in the syntax tree of its file; None where that is not what is run."""
    try:
        source = _source(code.co_filename)
        tree = _parsed(source)
    except (OSError, SyntaxError):
        return None
    known = _compiled(source).get(code.co_qualname, set())
    if known and _instructions(code) not in known:  # edited since, or rewritten as pytest does
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == code.co_name:
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if first == code.co_firstlineno:
                return node
    return None


def _source(file: str) -> str:
    """Of a file, or of a cell of a notebook."""
    linecache.checkcache(file)
    source = "".join(linecache.getlines(file))
    if not source:
        raise OSError(f"no source of {file}")
    return source


@functools.lru_cache(maxsize=256)
def _parsed(source: str) -> ast.Module:
    return ast.parse(source)


@functools.lru_cache(maxsize=256)
def _of_source(source: str, module: str) -> tuple[str, tuple[str, ...]]:
    """Digest of a module's code, and what it imports; sweeps ask for it once a run."""
    tree = _parsed(source)
    return digest(_canonical(tree)), tuple(sorted(_imported(tree, module)))


def _canonical(node: Any) -> str:
    """A syntax tree as text, the same in all versions of Python; without docstrings."""
    if isinstance(node, list):
        return "[" + ",".join(map(_canonical, node)) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    given = [
        f"{name}={_canonical(_without_docstring(node, value) if name == 'body' else value)}"
        for name, value in ast.iter_fields(node)
        if value not in (None, []) and name not in ("ctx", "kind", "type_comment", "type_ignores")
    ]
    return f"{type(node).__name__}({','.join(given)})"


def _without_docstring(node: ast.AST, body: Any) -> Any:
    documented = isinstance(
        node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    )
    return body[1:] if documented and ast.get_docstring(node, clean=False) is not None else body


def _instructions(code: types.CodeType) -> str:
    """A code object as text, without its docstring and places in the file."""
    constants = code.co_consts[isinstance(next(iter(code.co_consts), None), str) :]
    texts = [_instructions(c) if isinstance(c, types.CodeType) else _constant(c) for c in constants]
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_argcount)
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
    loads = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
    steps = (step for c in _codes(code) for step in dis.get_instructions(c))
    return {step.argval for step in steps if step.opname in loads}


def _names_of(code: types.CodeType) -> set[str]:
    return {name for c in _codes(code) for name in c.co_names}


def _imports_of(code: types.CodeType) -> set[str]:
    """Names of modules, and of what may be modules, that a function imports when it runs."""
    found = set()
    for c in _codes(code):
        base = ""
        for step in dis.get_instructions(c):
            if step.opname == "IMPORT_NAME":
                base = step.argval
                found.add(base)
            elif step.opname == "IMPORT_FROM":
                found.add(f"{base}.{step.argval}")
    return found


def _imported(tree: ast.Module, importer: str) -> set[str]:
    """Names of modules, and of what may be modules, that a module's source imports anywhere."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, importer)
            found.add(base)
            found.update(f"{base}.{alias.name}" for alias in node.names)
    return found


def _absolute(node: ast.ImportFrom, importer: str) -> str:
    above = importer.split(".")[: -node.level] if node.level else []
    return ".".join([*above, *([node.module] if node.module else [])])
