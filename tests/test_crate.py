"""The recorded runs as a Research Object Crate, and the list of outputs for a CODECHECK."""

import hashlib
import json
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml
from rocrate.rocrate import ROCrate

from memhelpers.runs import records
from tools import crate
from tools.notebooks import ROOT

DATA = ROOT / "data"
RUNS = sorted(path.parent for path in DATA.glob(f"*/*/{records.PROVENANCE}"))


@pytest.fixture(scope="module")
def read() -> ROCrate:
    return ROCrate(DATA)


def references(value: object) -> list[str]:
    """The ids that an entity refers to, wherever they stand in it."""
    if isinstance(value, dict):
        return [value["@id"]] if set(value) == {"@id"} else references(list(value.values()))
    return [id for one in value for id in references(one)] if isinstance(value, list) else []


def test_what_is_kept_is_what_the_folder_gives():
    kept = json.loads((DATA / crate.KEPT).read_text(encoding="utf-8"))
    assert kept == crate.described(DATA), "run make outputs"


def test_the_root_says_what_the_specification_requires(read):
    root = read.root_dataset
    for name in ("name", "description", "datePublished", "license"):
        assert root[name], name
    assert read.metadata["conformsTo"] == "https://w3id.org/ro/crate/1.1"
    assert root["conformsTo"].id == crate.PROFILE


def test_every_file_is_there_with_its_checksum(read):
    files = [one for one in read.data_entities if one.type == "File"]
    assert len(files) > 100
    for one in files:
        content = (DATA / unquote(one.id)).read_bytes()
        assert one["sha256"] == hashlib.sha256(content).hexdigest(), one.id
        assert one["contentSize"] == str(len(content))


def test_every_record_is_a_run_with_program_data_and_results(read):
    actions = {one["name"]: one for one in read.get_by_type("CreateAction")}
    assert len(actions) == len(RUNS)
    for folder in RUNS:
        action = actions[f"Run of {folder.parent.name}: {folder.name}"]
        ran = json.loads((folder / records.PROVENANCE).read_text(encoding="utf-8"))
        assert ran["commit"] in action["instrument"]["softwareVersion"]
        assert ran["device"] in action["description"]
        made = {unquote(one.id) for one in action["result"]}
        place = folder.relative_to(DATA).as_posix()
        assert made == {f"{place}/", *(f"{place}/{path.name}" for path in folder.iterdir())}
        if ran.get("dataset"):
            assert [one["name"] for one in action["object"]] == [ran["dataset"]["name"]]


def test_no_entity_refers_to_one_that_is_not_described():
    graph = json.loads((DATA / crate.KEPT).read_text(encoding="utf-8"))["@graph"]
    known = {one["@id"] for one in graph}
    outside = {id for one in graph for id in references(list(one.values()))} - known
    assert all(id.startswith("https://") for id in outside), outside
    assert len(known) == len(graph)


def test_the_list_of_outputs_names_files_that_are_there():
    told = yaml.safe_load((ROOT / "codecheck.yml").read_text(encoding="utf-8"))
    assert told["version"].startswith("https://codecheck.org.uk/spec/config/1.")
    listed = [entry["file"] for entry in told["manifest"]]
    assert len(listed) == len(set(listed))
    assert all(entry["comment"] for entry in told["manifest"])
    for file in listed:
        assert (ROOT / file).is_file(), file
    chapters = {Path(file).name for file in listed if file.endswith(".ipynb")}
    assert chapters == {path.name for path in (ROOT / "book").glob("[0-9][0-9]-*.ipynb")}
