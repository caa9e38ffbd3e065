# On Colab this cell installs the book's helpers and leaves torch, numpy and the rest as they are.
# Elsewhere it does nothing.
import importlib.util
import os
import subprocess
import sys

REPOSITORY = ""  # a published book carries its own address here
source = os.environ.get("MEMHELPERS_SOURCE") or (REPOSITORY and f"git+{REPOSITORY}")
if "google.colab" in sys.modules or "MEMHELPERS_SOURCE" in os.environ:
    if not source:
        raise RuntimeError("Set REPOSITORY above to the address of the book's repository.")
    light = [] if importlib.util.find_spec("vl_convert") else ["vl-convert-python"]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", source, *light]
    subprocess.run(pip, check=True)
