"""Write constraints.txt: the versions that the book was tested with, taken from this environment.

    python -m tools.pins

Every package is listed that `memhelpers[book,test]` needs, directly or not, except the CUDA
libraries that torch brings on some platforms (which of them fit is for torch to say) and the
packaging tools that an environment is made with.
"""

import importlib.metadata
import re
import sys
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CONSTRAINTS = Path(__file__).resolve().parent.parent / "constraints.txt"
LEFT_OUT = re.compile(r"nvidia-|cuda-|triton$|setuptools$|wheel$|pip$")


def needed(name: str, extras: tuple[str, ...] = ()) -> dict[str, str]:
    """Map every installed package that `name[extras]` needs to its version, `name` left out."""
    found: dict[str, str] = {}
    waiting = [(canonicalize_name(name), extras)]
    seen = set(waiting)
    while waiting:
        package, wanted = waiting.pop()
        distribution = importlib.metadata.distribution(package)
        found[package] = distribution.version
        for requirement in map(Requirement, distribution.requires or []):
            entry = (canonicalize_name(requirement.name), tuple(sorted(requirement.extras)))
            if applies(requirement, wanted) and entry not in seen and not LEFT_OUT.match(entry[0]):
                seen.add(entry)
                waiting.append(entry)
    del found[canonicalize_name(name)]
    return found


def applies(requirement: Requirement, extras: tuple[str, ...]) -> bool:
    """Tell whether a requirement counts here, for a package asked with these extras."""
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in (*extras, ""))


def text() -> str:
    """Return the lines `name==version`, sorted by name; a local build's suffix is left out."""
    pins = needed("memhelpers", ("book", "test"))
    return "".join(f"{name}=={pins[name].partition('+')[0]}\n" for name in sorted(pins))


if __name__ == "__main__":
    CONSTRAINTS.write_text(text())
    sys.stdout.write(f"constraints.txt: {len(text().splitlines())} versions\n")
