"""Write the address of the book's repository into the one place that holds it, `_config.yml`.

python -m tools.stamp https://github.com/OWNER/NAME
"""

import re
import sys
from pathlib import Path

CONFIG = Path(__file__).resolve().parent.parent / "_config.yml"
ADDRESS = re.compile(r"https://github\.com/[A-Za-z0-9-]+/[A-Za-z0-9._-]+")
PLACE = re.compile(r"^(repository:\n(?:[ #].*\n|\n)*?  url:)[^\n#]*?(\s*#.*)?$", re.MULTILINE)


def cleaned(address: str) -> str:
    """Return the address without a closing slash or `.git`.

    Raises:
        ValueError: Not of the form https://github.com/OWNER/NAME, the one that Colab opens.
    """
    plain = address.strip().rstrip("/").removesuffix(".git")
    if not ADDRESS.fullmatch(plain):
        raise ValueError(f"REPO: given {address!r}; allowed: https://github.com/OWNER/NAME")
    return plain


def stamped(text: str, address: str) -> str:
    """Return the configuration's text with the address in `repository.url`, all else unchanged.

    Raises:
        ValueError: The address has another form, or the text has no such place.
    """
    plain = cleaned(address)
    new, places = PLACE.subn(lambda m: f'{m[1]} "{plain}"{m[2] or ""}', text)
    if places != 1:
        raise ValueError("_config.yml: no single line `url:` under `repository:` to write to")
    return new


def main(arguments: list[str]) -> int:
    """Stamp the configuration and say so; 2 on a wrong call."""
    try:
        CONFIG.write_text(stamped(CONFIG.read_text(), *(arguments or [""])[:1]))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"_config.yml: repository.url is {cleaned(arguments[0])}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
