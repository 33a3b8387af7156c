"""The entry point: finds the command, and turns whatever it ends with into an exit code."""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import Any

import click

from mkgen.errors import (
    EXIT_INPUT,
    EXIT_INTERNAL,
    EXIT_INTERRUPTED,
    MkgenError,
    UserError,
    nearest,
)

#: Objects made before Python looks for garbage. PyTorch's import makes a million that stay: at the
#: usual 700, looking at them again and again is a fifth of it.
_COLLECT_AFTER = 50_000

#: Command -> what `mkgen --help` says of it. The module mkgen.cli.COMMAND is imported when needed.
COMMANDS = {
    "gen": "Generate one kernel: choose parameters, compile, check, write the package.",
    "eval": "Evaluate many tasks on many targets into a run of records.",
    "tune": "Measure parameters on a device; gen and eval use the fastest from then on.",
    "verify": "Evaluate a package, or a run's record, again and say what differs.",
    "show": "Show a record, a package, a run, or the parameter sets a task can have.",
    "evolve": "Let a language model vary kernels; keep the best of each kind.",
    "prompt": "Print what a language model would be asked: paste it into any model.",
    "records": "List, show, import, export and check the records of a run.",
    "tasks": "List the tasks that ship with mkgen, or show one.",
    "targets": "List targets; `targets show` says what each backend supports, and why not.",
    "doctor": "Say what works on this machine, and what would enable the rest.",
}


class Commands(click.Group):
    """A group that imports a command only when it is used: `mkgen --help` must be quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """See click.Group."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """See click.Group."""
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"mkgen.cli.{name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """See click.Group; an unknown name gets the nearest one."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            raise UserError(f"no command {args[0]!r}.{nearest(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See click.Group; does not import the commands."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mkgen", prog_name="mkgen")
def cli() -> None:
    """Write a computation once, in PyTorch; get a checked kernel for every vendor's target.

    \b
    To begin with:
      mkgen doctor                               what works on this machine
      mkgen tasks                                what there is to generate
      mkgen gen --backend hip --task conv2d      one kernel, checked, as a package
      mkgen gen --backend cuda --task FILE.py    your own module or function

    Exit codes: 0 passed with the required evidence; 1 a kernel failed; 2 wrong input; 3 something
    needed is missing; 4 mkgen's own fault; 130 interrupted.
    """


def main() -> None:
    """Runs the command line of this process and exits."""
    with contextlib.suppress(ValueError):  # not in the main thread: then there is no signal either
        signal.signal(signal.SIGINT, _interrupt)
        signal.signal(signal.SIGTERM, _interrupt)
    gc.set_threshold(_COLLECT_AFTER)
    code = run(sys.argv[1:])
    if code != EXIT_INTERRUPTED:
        atexit._run_exitfuncs()
    # Threads may still be inside PyTorch, and joining them would make Ctrl-C wait; to take down
    # PyTorch's modules one by one takes longer than to generate a small kernel.
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def run(arguments: Sequence[str]) -> int:
    """Runs the command that `arguments` name; gives its exit code and prints what went wrong."""
    as_json = "--json" in arguments
    try:
        result: Any = cli.main(args=list(arguments), prog_name="mkgen", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except (KeyboardInterrupt, click.exceptions.Abort):
        return _fail("interrupted", EXIT_INTERRUPTED, as_json)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show(sys.stderr)
        return EXIT_INPUT
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = f"\n({context.command_path} --help lists the options)" if context else ""
        return _fail(error.format_message() + hint, EXIT_INPUT, as_json)
    except MkgenError as error:
        if os.environ.get("MKGEN_DEBUG") == "1":
            traceback.print_exc()
        return _fail(str(error), _exit_code(error), as_json)
    except BrokenPipeError:
        # The reader has gone (`mkgen tasks | head`): nothing is wrong, and nobody is listening.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_INTERRUPTED
    except Exception as error:  # whatever is left is our own fault
        return _fail(_internal(error), EXIT_INTERNAL, as_json)


def _interrupt(number: int, frame: FrameType | None) -> None:
    # The second time the user means it: the guard process still kills workers and scratch files.
    def leave(number: int, frame: FrameType | None) -> None:
        os._exit(EXIT_INTERRUPTED)

    signal.signal(signal.SIGINT, leave)
    signal.signal(signal.SIGTERM, leave)
    raise KeyboardInterrupt


def _exit_code(error: MkgenError) -> int:
    # a WorkerFailure holds a status, which decides, as it does in a record
    status = getattr(error, "status", None)
    if status is None:
        return error.exit_code
    from mkgen.evaluate.outcome import status_code

    return status_code(status)


def _internal(error: Exception) -> str:
    if os.environ.get("MKGEN_DEBUG") == "1":
        traceback.print_exc()
        where = "the traceback is above"
    else:
        try:
            handle, path = tempfile.mkstemp(prefix="mkgen-fault-", suffix=".txt")
            with os.fdopen(handle, "w") as file:
                traceback.print_exception(error, file=file)
            where = f"the traceback is in {path}"
        except OSError as full:
            where = f"no traceback could be saved ({full}); MKGEN_DEBUG=1 prints it"
    return (
        f"this is a fault of mkgen, not of your input: {type(error).__name__}: {error}\n"
        f"Please report it with the command you ran; {where}."
    )


def _fail(message: str, code: int, as_json: bool) -> int:
    from mkgen.cli.present import emit, say

    with contextlib.suppress(OSError):  # nobody may be listening any more
        if as_json:
            emit({"failure": {"exit_code": code, "message": message}})
        say(f"mkgen: {message}")
    return code


if __name__ == "__main__":
    main()
