"""`mkgen doctor`: what works on this machine, what was tried, what would enable the rest."""

from __future__ import annotations

import platform
from dataclasses import asdict
from typing import Any

import click

from mkgen.cli import options
from mkgen.cli.present import emit, say
from mkgen.codegen.backend import Ability, Backend
from mkgen.codegen.registry import backend_named, backends, broken_backends
from mkgen.errors import MkgenError
from mkgen.evaluate.confine.layers import confinement

ABILITIES = ("generate", "compile", "execute", "measure")


@click.command("doctor")
@click.argument("name", required=False, metavar="[BACKEND]")
@click.option("--verbose", "-v", is_flag=True, help="Also list every place that was looked at.")
@options.toolchain
@options.json_output
def command(name: str | None, verbose: bool, as_json: bool) -> int:
    """Say, for every backend, whether it can generate, compile, execute and measure here.

    execute: on a CPU, without the device; measure: on a device. Ends with 0 whatever it finds.
    """
    found = {name: backend_named(name)} if name else backends()
    broken = {} if name else broken_backends()
    documents = [_examine(b) for b in found.values()]
    confined = _confinement()
    if as_json:
        machine = {"machine": _machine(), "confinement": confined}
        emit({**machine, "backends": documents, "broken": broken})
        return 0
    say(_machine())
    say(_confinement_words(confined, verbose))
    for document in documents:
        say(_words(document, verbose))
    for broken_name, reason in broken.items():
        say(f"\n{broken_name}: broken plug-in, left out: {reason}\n  mend or uninstall it")
    return 0


def _machine() -> str:
    return f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"


def _confinement() -> dict[str, Any]:
    """What holds worker processes, and why nothing better does."""
    try:
        found = confinement()
    except MkgenError as error:
        return {"layer": "", "holds": str(error), "filtered": False, "tried": []}
    tried = [{"layer": t.name, "reason": t.reason, "remedy": t.remedy} for t in found.tried]
    return {"layer": found.name, "holds": found.holds, "filtered": found.filtered, "tried": tried}


def _confinement_words(told: dict[str, Any], verbose: bool) -> str:
    lines = [f"confinement: {told['layer'] or 'none'}: {told['holds']}"]
    for tried in told["tried"]:
        # bubblewrap and our own namespaces hold the same
        wanted = verbose or told["layer"] not in ("bubblewrap", "namespaces")
        if tried["reason"] and (wanted or tried["layer"] == "bubblewrap"):
            lines.append(f"  {tried['layer']}: {tried['reason']}")
            lines.append(f"{'':<15}to enable it: {tried['remedy']}")
    return "\n".join(lines)


def _examine(backend: Backend) -> dict[str, Any]:
    """One backend's abilities; a probe that raises, which it must not, is an answer as well."""
    try:
        probe = backend.probe()
        abilities = {what: getattr(probe, what) for what in ABILITIES}
    except Exception as error:  # a plug-in may break its promise; the others must be shown
        reason = f"its probe raised {type(error).__name__}: {error}"
        remedy = "report it to the backend's author"
        abilities = dict.fromkeys(ABILITIES, Ability(False, reason=reason, remedy=remedy))
    return {
        "backend": backend.name,
        "title": backend.title,
        "archs": list(backend.archs),
        **{what: asdict(ability) for what, ability in abilities.items()},
    }


def _words(document: dict[str, Any], verbose: bool) -> str:
    lines = [f"\n{document['backend']}: {document['title']}"]
    for what in ABILITIES:
        ability = document[what]
        answer = "yes" if ability["ok"] else "no"
        told = ability["found"] if ability["ok"] else ability["reason"]
        lines.append(f"  {what:<9}{answer:<4}{told}")
        if ability["ok"] and ability["reason"]:
            lines.append(f"{'':<15}but: {ability['reason']}")
        if ability["remedy"] and (not ability["ok"] or ability["reason"]):
            lines.append(f"{'':<15}to enable it: {ability['remedy']}")
        if ability["tried"] and (verbose or not ability["ok"]):
            lines.append(f"{'':<15}looked at: {', '.join(ability['tried'])}")
    return "\n".join(lines)
