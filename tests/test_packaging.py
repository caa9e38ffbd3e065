"""The package: one set of bounds and pins in three files, and a wheel that works alone."""

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests import checkout
from tools import pins

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA_NAMES = {"pytorch": "torch"}


def requirements() -> dict[str, Requirement]:
    extras = PROJECT["optional-dependencies"].values()
    listed = [*PROJECT["dependencies"], *(text for extra in extras for text in extra)]
    parsed = [Requirement(text) for text in listed]
    return {canonicalize_name(requirement.name): requirement for requirement in parsed}


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines)


def conda() -> dict[str, SpecifierSet]:
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    flat = [text for text in listed if isinstance(text, str)] + listed[-1]["pip"]
    parsed = [Requirement(text) for text in flat if not text.startswith("--editable")]
    return {CONDA_NAMES.get(r.name, canonicalize_name(r.name)): r.specifier for r in parsed}


def test_the_package_itself_needs_torch_with_what_it_brings_numpy_and_pandas_only():
    names = {Requirement(text).name for text in PROJECT["dependencies"]}
    assert names == {"torch", "filelock", "numpy", "pandas"}
    assert "filelock" in {Requirement(text).name for text in metadata.requires("torch")}


def test_every_requirement_has_a_lower_bound_and_no_pin():
    for requirement in requirements().values():
        operators = {specifier.operator for specifier in requirement.specifier}
        assert ">=" in operators, requirement
        assert operators <= {">=", "<"}, requirement


def test_constraints_are_sorted_pins_without_an_address():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[a-z0-9-]+==[a-z0-9.]+", line) for line in lines)
    names = [line.split("==")[0] for line in lines]
    assert names == sorted(set(names))


def test_no_pin_belongs_to_one_platform_only():
    assert not [name for name in constraints() if pins.LEFT_OUT.match(name)]


def test_every_requirement_is_pinned_within_its_bounds():
    pinned = constraints()
    for name, requirement in requirements().items():
        assert requirement.specifier.contains(pinned[name], prereleases=True), name


def test_every_package_of_this_environment_is_at_its_pin():
    pinned = constraints()
    for name, version in pins.needed("memhelpers", ("book", "test")).items():
        assert pinned[name] == Version(version).public, name


def test_conda_users_get_the_same_packages_and_bounds():
    wanted = {name: requirement.specifier for name, requirement in requirements().items()}
    given = conda()
    assert given.pop("python") == SpecifierSet(PROJECT["requires-python"])
    given.pop("pip")
    assert given == wanted


def test_the_makefile_the_workflows_and_the_package_agree_on_python():
    lowest = PROJECT["requires-python"].removeprefix(">=")
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())
    assert lowest in workflow["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert "({}, {})".format(*lowest.split(".")) in (ROOT / "Makefile").read_text()


def test_the_citation_has_the_package_version_and_invents_nobody():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"] == "MIT"
    assert citation["authors"] == [{"name": "The contributors"}]
    assert PROJECT["authors"] == [{"name": "The contributors"}]
    for name in ("LICENSE", "LICENSE-TEXT"):
        assert re.search(r"Copyright \(c\) \d+ the contributors", (ROOT / name).read_text())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names of the files of a wheel, made of a copy with one more record and one cached file."""
    copy = checkout.copy(tmp_path_factory.mktemp("tree") / "book")
    for name in ("data/99-probe/paper/accuracy.csv", "data/99-probe/paper/provenance.json"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text("{}")
    (copy / "data/cache/files").mkdir(parents=True)
    (copy / "data/cache/files/images.csv").write_text("large")
    made = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", made, copy]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    (file,) = made.glob("*.whl")
    return set(zipfile.ZipFile(file).namelist())


def test_the_wheel_carries_every_module_the_claims_and_the_records(wheel):
    modules = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("memhelpers/**/*.py")}
    records = {
        f"memhelpers/_data/{path.relative_to(ROOT / 'data').as_posix()}"
        for path in ROOT.glob("data/*/*/*")
        if path.suffix in (".csv", ".json") and "cache" not in path.parts
    }
    probe = "memhelpers/_data/99-probe/paper/"
    assert (
        modules | {f"memhelpers/page/{name}" for name in ("figure.js", "live.js", "live.css")}
        <= wheel
    )
    assert records <= wheel
    assert {
        "memhelpers/_book/claims.yml",
        "memhelpers/_book/_static/through-updates.svg",
        "memhelpers/_data/verdicts.json",
        probe + "accuracy.csv",
        probe + "provenance.json",
    } <= wheel


def test_the_wheel_carries_nothing_else(wheel):
    shapes = (
        r"memhelpers/((\w+/)?\w+\.(py|js|css|html)|_book/(claims\.yml|_static/through-updates\.svg)"
        r"|_data/verdicts\.json|_data/[^/]+/[^/]+/[^/]+\.(csv|json))"
    )
    others = {name for name in wheel if not re.fullmatch(shapes, name)}
    assert all(".dist-info/" in name for name in others), others
    assert not [name for name in wheel if "cache" in name]


def test_every_make_command_that_a_text_names_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    texts = [*ROOT.glob("*.md"), *ROOT.glob("book/*.md"), *ROOT.glob(".github/workflows/*.yml")]
    for path in texts:
        code = re.findall(r"`make ([a-z]+)|^ *(?:- run: )?make ([a-z]+)", path.read_text(), re.M)
        named = {name for pair in code for name in pair if name}
        assert named <= targets, path.name
