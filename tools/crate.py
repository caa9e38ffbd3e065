"""Describe the recorded runs as a Research Object Crate: `data/ro-crate-metadata.json`.

The crate is the folder `data/`: each file with its checksum, and each run as the action that made
its files, with program, machine and data (RO-Crate 1.1, Process Run Crate).
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rocrate.model import ContextEntity
from rocrate.rocrate import ROCrate

from memhelpers.runs import records

KEPT = "ro-crate-metadata.json"
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
FORMATS = {".csv": "text/csv", ".json": "application/json", ".md": "text/markdown"}
LICENSE = "https://creativecommons.org/licenses/by/4.0/"
NAME = "Recorded runs of an executable book on memorization in deep networks"
ABOUT = "Tables of networks trained on real data and on noise, one folder for each recorded run."


def described(data: Path) -> dict[str, Any]:
    """Return the metadata of the crate that a folder of recorded runs is."""
    crate = ROCrate(version="1.1")
    root = crate.root_dataset
    root["name"], root["description"], root["license"] = NAME, ABOUT, LICENSE
    profile = {"@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"}
    root["conformsTo"] = _entity(crate, PROFILE, profile)
    for path in sorted(data.glob("*.*")):
        if path.suffix in FORMATS and path.name != KEPT:
            _file(crate, data, path)
    runs = sorted(path.parent for path in data.glob(f"*/*/{records.PROVENANCE}"))
    # Not the time of writing, so that the same files give the same text.
    root["datePublished"] = max((_run(crate, data, folder) for folder in runs), default="")
    return crate.metadata.generate()


def _run(crate: ROCrate, data: Path, folder: Path) -> str:
    """Add a recorded run; returns when it was made."""
    ran = json.loads((folder / records.PROVENANCE).read_text(encoding="utf-8"))
    files = [_file(crate, data, path) for path in sorted(folder.iterdir())]
    place = f"{folder.relative_to(data).as_posix()}/"
    title = f"{ran['chapter']}: {ran['name']}"
    about = {"name": title, "hasPart": files, "dateCreated": ran["created"]}
    dataset = crate.add_dataset(dest_path=place, properties=about)
    action = {
        "@type": "CreateAction",
        "name": f"Run of {title}",
        "instrument": _program(crate, ran),
        "object": _used(crate, ran),
        "result": [dataset, *files],
        "endTime": ran["created"],
        "description": f"On {ran['device']}, {ran['threads']} threads, {ran['precision']}; "
        f"{ran['wall_seconds']:.0f} s by the clock.",
    }
    crate.root_dataset.append_to("mentions", _entity(crate, f"#run/{place}", action))
    return ran["created"]


def _program(crate: ROCrate, ran: Mapping[str, Any]) -> ContextEntity:
    """The package at a commit, with the versions of what it computes with."""
    versions = ", ".join(f"{name} {ran[name]}" for name in ("python", "torch", "numpy", "pandas"))
    about = {
        "@type": "SoftwareApplication",
        "name": f"memhelpers {ran['memhelpers']}",
        "softwareVersion": f"{ran['memhelpers']}, commit {ran['commit']}",
        "softwareRequirements": versions,
    }
    return _entity(crate, f"#memhelpers/{ran['commit']}/{ran['torch']}", about)


def _used(crate: ROCrate, ran: Mapping[str, Any]) -> list[ContextEntity]:
    """The data that a run was trained on; none of a benchmark without."""
    if not (data := ran.get("dataset")):
        return []
    about = {"@type": "Dataset", "name": data["name"], "description": data["is"]}
    return [_entity(crate, f"#data/{data['fingerprint']}", about)]


def _file(crate: ROCrate, data: Path, path: Path) -> ContextEntity:
    content = path.read_bytes()
    about = {
        "name": path.name,
        "encodingFormat": FORMATS[path.suffix],
        "contentSize": str(len(content)),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    return crate.add_file(dest_path=path.relative_to(data).as_posix(), properties=about)


def _entity(crate: ROCrate, id: str, properties: Mapping[str, Any]) -> ContextEntity:
    """The entity of this id; one that several runs share is the same each time."""
    return crate.add(ContextEntity(crate, id, properties=dict(properties)))


def write(data: Path) -> None:
    """Write the description beside the runs."""
    text = json.dumps(described(data), indent=1, ensure_ascii=False)
    (data / KEPT).write_text(f"{text}\n", encoding="utf-8")
