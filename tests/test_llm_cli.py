"""`--generator llm` and `evolve` from the command line, with a command in the model's place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_support import call

DATA = Path(__file__).parent / "data" / "native"


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MKGEN_STATE", str(tmp_path / "state"))


def model(tmp_path: Path, answer: str) -> str:
    """A command that says `answer` to whatever it is asked, and counts how often it is."""
    file, count = tmp_path / "answer.md", tmp_path / "asked"
    file.write_text(answer)
    script = tmp_path / "model.sh"
    script.write_text(f"cat > /dev/null\necho once >> '{count}'\ncat '{file}'\n")
    return f"sh {script}"


def asked(tmp_path: Path) -> int:
    return (tmp_path / "asked").read_text().count("once")


def fenced(name: str) -> str:
    return f"Here it is.\n\n```hip\n{(DATA / name).read_text()}```\n"


def test_a_models_kernel_becomes_a_package_that_can_be_verified(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command, out = model(tmp_path, fenced("softmax.hip")), str(tmp_path / "made")
    done = call(
        capfd, "gen", "--generator", "llm", "--task", "softmax", "--backend", "hip",
        "--llm-cmd", command, "--no-memory", "--out", out, "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    record = json.loads(done.out)
    assert record["status"] == "pass" and record["origin"] == "source"
    made = record["generation"]
    assert made["exemplar"] == "log_softmax" and made["strategy"] == "category"
    assert (tmp_path / "made" / "softmax.native.hip").read_text() == (
        DATA / "softmax.hip"
    ).read_text()
    done = call(capfd, "verify", out)
    assert done.code == 0 and "nothing differs" in done.err, done.err
    # the exchange is on the disk: nobody is asked again
    again = call(
        capfd, "gen", "--generator", "llm", "--task", "softmax", "--backend", "hip",
        "--llm-cmd", command, "--no-memory", "--out", str(tmp_path / "again"),
    )  # fmt: skip
    assert again.code == 0 and asked(tmp_path) == 1
    (tmp_path / "made" / "softmax.native.hip").write_text("/* mkgen\nbackend = 'hip'\n*/\n")
    done = call(capfd, "verify", out)
    assert done.code == 2 and "not the text that its record is of" in done.err


def test_samples_are_records_and_give_pass_at_k(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    wrong = fenced("softmax.hip").replace("expf(", "__expf(0.5f * ", 1)
    run = tmp_path / "run"
    done = call(
        capfd, "eval", "--generator", "llm", "--samples", "2", "--no-memory", "--task", "softmax",
        "--backend", "hip", "--llm-cmd", model(tmp_path, wrong), "--out", str(run), "--json",
    )  # fmt: skip
    records = json.loads(done.out)
    assert done.code == 1 and len(records) == 2
    assert {r["generation"]["sample"] for r in records} == {0, 1}
    assert all(r["status"] != "pass" for r in records)
    assert "Pass@k" in done.err and "0.000" in done.err
    assert len(list((run / "exchanges").glob("*.json"))) == 2
    assert len(list((run / "kernels").iterdir())) == 2
    done = call(capfd, "records", "export", str(run), "--dataset", str(tmp_path / "set.jsonl"))
    rows = [json.loads(line) for line in (tmp_path / "set.jsonl").read_text().splitlines()]
    assert done.code == 0 and rows and all("prompt" in row for row in rows)


def test_evolution_goes_on_where_it_was(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = model(tmp_path, "I do not know.")
    arguments = (
        "evolve", "--task", "relu", "--backend", "opencl", "--llm-cmd", command, "--no-memory",
        "--islands", "1", "--out", str(tmp_path / "evolution"), "--json",
    )  # fmt: skip
    first = call(capfd, *arguments, "--evaluations", "3")
    assert first.code == 0, first.err
    best = json.loads(first.out)["best"]
    assert best["status"] == "pass" and (tmp_path / "evolution/archive.svg").is_file()
    seen = (tmp_path / "evolution/evolution.jsonl").read_text()
    second = call(capfd, *arguments, "--evaluations", "3")
    assert second.code == 0 and json.loads(second.out)["best"] == best
    assert (tmp_path / "evolution/evolution.jsonl").read_text() == seen


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("gen", "--task", "relu", "--backend", "hip", "--model", "m"), "needs --generator llm"),
        (("gen", "--generator", "llm", "--task", "relu", "--backend", "hip"), "no model to ask"),
        (("eval", "--generator", "llm", "--source", "x.hip"), "leave --generator llm out"),
        (("gen", "--generator", "llm", "--form", "module", "--task", "relu", "--backend", "triton",
          "--llm-cmd", "true"), "--form module"),
    ],
)  # fmt: skip
def test_choices_that_cannot_be(
    arguments: tuple[str, ...], told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    done = call(capfd, *arguments)
    assert done.code == 2 and told in done.err, done.err
