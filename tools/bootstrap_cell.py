# On Colab this cell installs the book's helpers and what draws the pictures. It leaves
# torch, numpy and the rest as they are; elsewhere it does nothing.
import os
import subprocess
import sys

# A published book carries its own address.
REPOSITORY = os.environ.get("MEMHELPERS_SOURCE") or ""
if "google.colab" in sys.modules or "MEMHELPERS_SOURCE" in os.environ:
    if not REPOSITORY:
        raise RuntimeError("Set REPOSITORY above to git+ and the repository's address.")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, REPOSITORY, "vl-convert-python"], check=True)
