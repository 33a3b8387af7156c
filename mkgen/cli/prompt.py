"""`mkgen prompt`: what a language model would be asked."""

from __future__ import annotations

import click

from mkgen.cli import options
from mkgen.cli.present import emit, say
from mkgen.cli.request import precision_of, resolve_target, resolve_task
from mkgen.llm.memory import Memory
from mkgen.llm.prompt import Extras, Form, Strategy, estimated_tokens, make_prompt


@click.command("prompt")
@options.together(
    click.option("--task", "name", required=True, metavar="NAME|FILE.py[::NAME]",
                 help="A task of mkgen's (mkgen tasks lists them), or your own file."),
    click.option("--target", metavar="BACKEND:ARCH[@DEVICE]", help="hip:gfx942, cuda:sm_90a@h200."),
    click.option("--backend", metavar="NAME", help="Instead of --target: its usual arch."),
    options.strategy,
    options.form,
    options.memory,
    options.shape,
    options.dtype,
    options.precision,
    click.option("--tokens", is_flag=True,
                 help="Print only about how many tokens it has (a quarter of its bytes)."),
    options.json_output,
)  # fmt: skip
def command(
    name: str,
    target: str | None,
    backend: str | None,
    strategy: str,
    form: str,
    memory: bool,
    shapes: tuple[str, ...],
    dtype: str | None,
    precision: str | None,
    tokens: bool,
    as_json: bool,
) -> int:
    """Print the prompt for one task on one target: paste it into any model.

    \b
    mkgen prompt --task softmax --backend hip > prompt.txt
    mkgen eval --source answer.hip --task softmax --target hip:gfx942
    """
    plugin, resolved = resolve_target(target, backend)
    task = precision_of(resolve_task(name, shapes, dtype), precision)
    extras = Extras(memory=Memory().notes(task, plugin)) if memory else None
    prompt = make_prompt(task, plugin, resolved, Strategy(strategy), Form(form), extras)
    count = estimated_tokens(prompt.text)
    if as_json:
        exemplar = prompt.exemplar
        emit({
            "task": task.name,
            "target": str(resolved),
            "strategy": prompt.strategy.value,
            "form": prompt.form.value,
            "text": prompt.text,
            "sha": prompt.sha,
            "version": prompt.version,
            "tokens": count,
            "exemplar": exemplar.task.name if exemplar else None,
            "memory": list(prompt.extras.memory),
        })  # fmt: skip
    elif tokens:
        click.echo(count)
    else:
        click.echo(prompt.text, nl=False)
        say(
            f"about {count} tokens; strategy {prompt.strategy.value}, prompts {prompt.version[:12]}"
        )
    return 0
