"""What a reader does with a notebook: change values of its parameters cell, and run all cells.

    python reader.py '{"04-loss-sensitivity.ipynb": {"examples": 60}}'

In one process, so that many runs share one import of torch; each run has a namespace of its own.
Needs IPython and no package of this checkout, so that it also runs beside an installed one.
"""

import gc
import json
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output


def run_all(path: Path, changed: Mapping[str, Any] | None = None) -> list[dict]:
    """Run the cells from top to bottom and return the data that they display, by MIME type.

    Args:
        path: The notebook.
        changed: New values of names in the parameters cell, set right after it.

    Raises:
        Exception: What the first failing cell raised.
    """
    # A cell's functions are found in the module __main__, as in a kernel: the shell lays its own
    # there, which must not stay behind.
    main = sys.modules["__main__"]
    shell = InteractiveShell.instance(history_load_length=0)
    shell.history_manager.enabled = False
    sys.modules["__main__"] = shell.user_module
    shown: list[dict] = []
    try:
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                shown += _run(shell, "".join(cell["source"]))
            if "parameters" in cell["metadata"].get("tags", []):
                shell.push(dict(changed or {}))
    finally:
        shell.reset()
        sys.modules["__main__"] = main
        if not gc.get_freeze_count():
            gc.freeze()  # the modules: each reset would walk through all of them again
    return shown


def _run(shell: InteractiveShell, source: str) -> list[dict]:
    with capture_output() as captured:
        shell.display_trap.hook = sys.displayhook  # the capturing one, for a cell's last value
        done = shell.run_cell(source, store_history=False)
    done.raise_error()
    return [output.data for output in captured.outputs]


def main() -> None:
    """Run each notebook named in the argument; print, as JSON, the traceback of each that fails."""
    failed = {}
    for name, changed in json.loads(sys.argv[1]).items():
        try:
            run_all(Path(name), changed)
        except Exception:
            failed[name] = traceback.format_exc()
    sys.stdout.write(json.dumps(failed))


if __name__ == "__main__":
    main()
