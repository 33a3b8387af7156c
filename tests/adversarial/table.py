"""The table of README.md, from the attacks themselves: `python tests/adversarial/table.py`."""

from __future__ import annotations

from attacks import ATTACKS
from attacks_native import NATIVE
from attacks_pallas import PALLAS

HEAD = "| program | runs on | exploits | ends as | defence |\n|---|---|---|---|---|"


def rows() -> list[str]:
    """One line per program."""
    found = []
    for attack in (*ATTACKS, *NATIVE, *PALLAS):
        backend = getattr(attack, "backend", "a child process")
        numbers = ", ".join(map(str, attack.exploits)) or "–"
        found.append(
            f"| `{attack.name}` | {backend} | {numbers} | `{attack.status.value}` | "
            f"{attack.defence} |"
        )
    return found


if __name__ == "__main__":
    print("\n".join([HEAD, *rows()]))
