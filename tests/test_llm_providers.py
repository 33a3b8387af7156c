"""Providers against a real server, real commands and real files; and where a key may be seen."""

from __future__ import annotations

import email.utils
import io
import json
import logging
import signal
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from llm_support import (
    CANARY,
    QUICK,
    Handler,
    chunk,
    endpoint,
    fails,
    says,
    serving,
    whole,
)

from mkgen.cli.llm_options import provider_options
from mkgen.errors import MissingError, UserError
from mkgen.evaluate.process import worker_environment
from mkgen.llm.budget import Budget, Price
from mkgen.llm.command import Command
from mkgen.llm.endpoint import EndpointSettings
from mkgen.llm.exchanges import Recorded
from mkgen.llm.folder import Folder
from mkgen.llm.http import Endpoint
from mkgen.llm.keys import checked_key_name, redacted
from mkgen.llm.provider import ProviderError
from mkgen.llm.providers import ProviderSettings, provider_of, recorded_provider
from mkgen.llm.retry import Retry, retry_after


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    for name in ("MKGEN_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def key(monkeypatch):
    monkeypatch.setenv("MKGEN_API_KEY", CANARY)
    return CANARY


# --- an endpoint --------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer(stream, key):
    with serving(says("a kernel, längs")) as server:
        made = endpoint(server, stream=stream, temperature=0.5, seed=40, max_output_tokens=99)
        reply = made.ask("write it", 2)
    assert (reply.text, reply.model, reply.finish) == ("a kernel, längs", "m-1-2026", "stop")
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (7, 3)
    assert reply.seconds > 0
    ((headers, body),) = server.requests
    assert headers["Authorization"] == f"Bearer {CANARY}"
    assert body.pop("stream", False) is stream
    assert body.pop("stream_options", None) == ({"include_usage": True} if stream else None)
    assert body == {
        "model": "m-1", "messages": [{"role": "user", "content": "write it"}],
        "temperature": 0.5, "max_tokens": 99, "seed": 42,
    }  # fmt: skip
    assert made.name == f"m-1 at {server.host}"


def test_without_a_key_none_is_sent_and_the_first_that_is_set_counts(monkeypatch):
    with serving(says("x")) as server:
        made = endpoint(server)
        made.ask("p", 0)
        monkeypatch.setenv("OPENAI_API_KEY", "second")
        made.ask("p", 0)
        monkeypatch.setenv("MKGEN_API_KEY", "first\n")
        made.ask("p", 0)
    assert [h.get("Authorization") for h, _ in server.requests] == [
        None, "Bearer second", "Bearer first",
    ]  # fmt: skip


def test_samples_and_settings_are_other_exchanges_and_attempts_are_not():
    with serving(fails(500), says("x")) as server:
        made = endpoint(server)
        made.ask("p", 0)
        made.ask("p", 1)
        endpoint(server, temperature=0.1).ask("p", 0)
        endpoint(server, timeout=9.0, stream=False).ask("p", 0)
    keys = [h["Idempotency-Key"] for h, _ in server.requests]
    assert keys[0] == keys[1] == keys[4]
    assert len(set(keys)) == 3


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("finish", "message", "expected", "text"),
    [
        ("stop", {}, "stop", "abcd"),
        ("length", {}, "length", "abcd"),
        ("content_filter", {}, "refusal", "abcd"),
        ("tool_calls", {}, "unknown", "abcd"),
        ("stop", {"refusal": "I will not", "content": None}, "refusal", "I will not"),
    ],
)
def test_how_it_ends(stream, finish, message, expected, text):
    message = dict(message)
    given = "" if "content" in message else "abcd"
    message.pop("content", None)
    with serving(says(given, finish, **message)) as server:
        reply = endpoint(server, stream=stream).ask("p", 0)
    assert (reply.finish, reply.text) == (expected, text)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 529])
def test_what_may_pass_is_tried_again(status):
    told = []
    with serving(fails(status, "busy"), says("x")) as server:
        assert endpoint(server, told.append).ask("p", 0).text == "x"
    assert len(server.requests) == 2
    assert f"HTTP {status}: busy; attempt 2" in told[0]


def test_the_number_of_attempts_is_limited():
    with serving(fails(503, "down for now")) as server, pytest.raises(ProviderError) as error:
        endpoint(server).ask("p", 0)
    assert len(server.requests) == QUICK.attempts
    for part in (server.host, "4 times", "HTTP 503", "down for now"):
        assert part in str(error.value)


def test_retry_after_is_waited_for():
    with serving(fails(429, "slow", Retry_After="1"), says("x")) as server:
        began = time.monotonic()
        endpoint(server).ask("p", 0)
    assert 1.0 <= time.monotonic() - began < 5


def test_retry_after_as_a_date():
    date = email.utils.formatdate(time.time() + 100, usegmt=True)
    assert 98 < (retry_after(date) or 0) <= 100
    assert retry_after("2.5") == 2.5
    assert retry_after(email.utils.formatdate(time.time() - 100, usegmt=True)) == 0
    beyond = "Wed, 21 Oct 2026 2147483648:28:00 GMT"
    for unreadable in (None, "", "soon", "-1", "1e9", "Mon, 99 Foo", beyond):
        assert retry_after(unreadable) is None


def test_a_wait_that_is_too_long_ends_it():
    with serving(fails(429, "quota", Retry_After="3600")) as server:
        with pytest.raises(ProviderError, match="asks to wait 3600 s"):
            endpoint(server).ask("p", 0)
        assert len(server.requests) == 1


def test_waits_grow_and_are_limited():
    retry = Retry(first=1.0, most=8.0)
    for failed, most in ((1, 1), (2, 2), (4, 8), (50, 8)):
        waits = [retry.wait(failed, None) for _ in range(50)]
        assert most / 2 <= min(waits) < max(waits) <= most
    assert 30 <= retry.wait(1, 30.0) <= 31


def test_nobody_listens():
    with serving(says("x")) as server:
        pass
    with pytest.raises(ProviderError, match=f"{server.host}.*refused.*server runs"):
        endpoint(server).ask("p", 0)


def hang(handler: Handler) -> None:
    handler.server.released.wait(20)


def hang_in_the_answer(handler: Handler) -> None:
    handler.events()
    handler.event(chunk("half"))
    handler.server.released.wait(20)


def drip(handler: Handler) -> None:
    """Never silent for long, never done: no limit on single reads ends this."""
    handler.events()
    while not handler.server.released.wait(0.05):
        handler.event(chunk("x"))


@pytest.mark.parametrize("answer", [hang, hang_in_the_answer, drip])
def test_a_hang_ends_at_the_timeout_and_is_tried_again(answer):
    with serving(answer, says("x")) as server:
        began = time.monotonic()
        assert endpoint(server, timeout=0.8).ask("p", 0).text == "x"
        assert 0.8 <= time.monotonic() - began < 8
        assert len(server.requests) == 2


def test_the_time_of_all_attempts_is_limited():
    retry = Retry(attempts=100, first=0.01, most=0.02, total=0.7)
    with serving(drip) as server:
        began = time.monotonic()
        with pytest.raises(ProviderError, match="no whole answer within"):
            endpoint(server, timeout=0.3, retry=retry).ask("p", 0)
        assert time.monotonic() - began < 3
        assert 2 <= len(server.requests) <= 4


def reset_in_the_answer(handler: Handler) -> None:
    handler.events()
    handler.event(chunk("half an ans"))
    handler.reset()


def end_in_the_answer(handler: Handler) -> None:
    handler.events()
    handler.event(chunk("half an ans"))
    handler.wfile.write(b'data: {"choices": [{"delta": {"con')


def short_body(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [')
    handler.close_connection = True


def body_of_unknown_length(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Connection", "close")
    handler.end_headers()
    handler.wfile.write(whole("an answer")[:40].encode())
    handler.close_connection = True


def error_in_the_answer(handler: Handler) -> None:
    handler.events()
    handler.event(chunk("half an ans"))
    handler.event({"error": {"message": "overloaded", "code": 502}})


@pytest.mark.parametrize(
    "answer",
    [
        reset_in_the_answer, end_in_the_answer, short_body, body_of_unknown_length,
        error_in_the_answer, Handler.reset,
    ],
)  # fmt: skip
def test_half_an_answer_is_none(answer):
    with serving(answer, says("whole")) as server:
        assert endpoint(server).ask("p", 0).text == "whole"
    assert len(server.requests) == 2


def end_without_done(handler: Handler) -> None:
    handler.events()
    handler.event(chunk("all of it", "stop"))
    handler.reset()


def test_what_said_why_it_ended_is_whole():
    with serving(end_without_done) as server:
        reply = endpoint(server).ask("p", 0)
    assert (reply.text, reply.finish, reply.usage.prompt_tokens) == ("all of it", "stop", None)
    assert len(server.requests) == 1


def test_a_server_that_does_not_stream():
    with serving(lambda h: h.reply(200, whole("in one piece"))) as server:
        assert endpoint(server).ask("p", 0).text == "in one piece"


def test_a_character_in_two_halves():
    def answer(handler: Handler) -> None:
        handler.events()
        handler.event('{"choices": [{"delta": {"content": "a \\ud83d"}}]}')
        end = '"finish_reason": "stop"}]}'
        handler.event('{"choices": [{"delta": {"content": "\\ude00 \\ud83d"}, ' + end)

    with serving(answer) as server:
        assert endpoint(server).ask("p", 0).text == "a \U0001f600 \ufffd"


@pytest.mark.parametrize(
    "body",
    [
        "<html>" + "long " * 400, "[1]", '{"choices": []}', "{}", "nul", "[" * 100_000,
        '{"choices": [{"message": {"content": ["a"]}}]}',
    ],
)  # fmt: skip
def test_a_body_that_is_no_completion(body):
    with serving(lambda h: h.reply(200, body)) as server, pytest.raises(ProviderError) as error:
        endpoint(server).ask("p", 0)
    assert len(server.requests) == 1
    assert server.host in str(error.value)
    assert "/v1" in str(error.value)
    assert len(str(error.value)) < 500


def test_an_event_that_is_no_json():
    def answer(handler: Handler) -> None:
        handler.events()
        handler.event("{half")

    with serving(answer) as server, pytest.raises(ProviderError, match="not JSON.*{half"):
        endpoint(server).ask("p", 0)


class Counted:
    """Writes 10 MB of answer, and counts what was taken."""

    def __init__(self, stream: bool) -> None:
        self.stream = stream
        self.written = 0
        self.ended = threading.Event()

    def __call__(self, handler: Handler) -> None:
        text = "x" * 9_999
        try:
            if self.stream:
                handler.events()
            else:
                handler.send_response(200)
                handler.send_header("Content-Length", str(10_000_100))
                handler.end_headers()
                handler.wfile.write(b'{"choices": "')
            for _ in range(1000):
                if self.stream:
                    handler.event(chunk(text))
                else:
                    handler.wfile.write(text.encode())
                self.written += len(text)
        except OSError:
            handler.close_connection = True
        self.ended.set()


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_of_ten_megabytes(stream):
    answer = Counted(stream)
    with serving(answer) as server:
        with pytest.raises(ProviderError, match="more than 65536"):
            endpoint(server, stream=stream, most_bytes=1 << 16).ask("p", 0)
        assert answer.ended.wait(5)
        assert len(server.requests) == 1
    assert answer.written < 9_000_000  # what the system's buffers took, and no more


def test_an_event_without_end():
    def answer(handler: Handler) -> None:
        handler.events()
        handler.wfile.write(b"data: " + b"x" * 200_000)

    with serving(answer) as server, pytest.raises(ProviderError, match="an event of more than"):
        endpoint(server, most_bytes=1 << 16).ask("p", 0)


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (400, "--max-output-tokens"), (401, "set the environment variable MKGEN_API_KEY"),
        (402, "credit"), (403, "rights"), (404, "/v1"), (418, "no such thing"),
    ],
)  # fmt: skip
def test_what_will_not_pass_is_not_tried_again(status, remedy):
    with serving(fails(status, "no such thing")) as server, pytest.raises(ProviderError) as error:
        endpoint(server).ask("p", 0)
    assert len(server.requests) == 1
    for part in (server.host, str(status), "no such thing", remedy):
        assert part in str(error.value)


def test_a_key_that_is_refused_is_named(key):
    with serving(fails(401)) as server, pytest.raises(ProviderError, match="key in MKGEN_API_KEY"):
        endpoint(server).ask("p", 0)


def test_no_redirect_is_followed(key):
    with serving(says("stolen")) as other:
        away = f"{other.url}/chat/completions"
        with (
            serving(lambda h: h.reply(307, "", Location=away)) as server,
            pytest.raises(ProviderError, match=f"307.*{other.host}"),
        ):
            endpoint(server).ask("p", 0)
        assert other.requests == []


def test_a_key_does_not_travel_unencrypted(key):
    made = Endpoint(EndpointSettings("m", "http://llm.example:8000/v1", retry=QUICK))
    with pytest.raises(ProviderError, match="unencrypted to llm.example:8000"):
        made.ask("p", 0)


def test_a_proxy_is_not_told_of_a_server_on_this_machine(monkeypatch, key):
    with serving(says("stolen")) as proxy, serving(says("x")) as server:
        monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.host}")
        monkeypatch.setenv("http_proxy", f"http://{proxy.host}")
        assert endpoint(server).ask("p", 0).text == "x"
        assert proxy.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "", "localhost:8000/v1", "ftp://host/v1", "http://", "http://[::1/v1", "http://h:99999/v1",
        f"https://user:{CANARY}@host/v1", f"https://host/v1?api-key={CANARY}", "http://a b/v1",
    ],
)  # fmt: skip
def test_urls_that_are_refused(url):
    with pytest.raises(UserError, match="--base-url") as error:
        Endpoint(EndpointSettings("m", url))
    assert CANARY not in str(error.value)


def test_the_newer_name_of_the_limit():
    for url, name in (
        ("https://api.openai.com/v1", "max_completion_tokens"),
        ("https://x.openai.azure.com/openai/v1", "max_completion_tokens"),
        ("https://notopenai.com/v1", "max_tokens"),
    ):
        assert name in EndpointSettings("m", url).body("p", 0)


def test_without_httpx(monkeypatch):
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(MissingError, match=r"pip install 'mkgen\[llm\]'"):
        Endpoint(EndpointSettings("m", "http://localhost/v1"))


# --- keys ---------------------------------------------------------------------------------------


def echo(handler: Handler) -> None:
    """A server that says back what it was told."""
    says(f"you are {handler.headers['Authorization']}")(handler)


def echo_in(status: int):
    return lambda h: fails(status, "x" * 180 + f" {h.headers['Authorization']}")(h)


def echo_as_location(handler: Handler) -> None:
    handler.reply(302, "", Location=f"http://elsewhere/{CANARY}")


def elsewhere(handler: Handler) -> None:
    handler.reply(302, "", Location="http://elsewhere/")


def echo_as_no_json(handler: Handler) -> None:
    handler.reply(200, "x" * 185 + f" {CANARY} and more")


def echo_as_event(handler: Handler) -> None:
    handler.events()
    handler.event({"error": {"message": CANARY}})


_EVERY_END = {
    "success": says("fine"), "echo": echo, "400": echo_in(400), "401": echo_in(401),
    "429": echo_in(429), "500": echo_in(500), "redirect": elsewhere,
    "not json": echo_as_no_json, "error event": echo_as_event, "hang": hang,
    "reset": reset_in_the_answer, "refused": Handler.reset,
}  # fmt: skip


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("how", _EVERY_END)
def test_a_key_is_nowhere(how, tmp_path, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    told: list[str] = []
    retry = Retry(attempts=2, first=0.01, total=5)
    seen = io.StringIO()
    with serving(_EVERY_END[how]) as server:
        timeout = 0.3 if how == "hang" else 10.0
        inner = endpoint(server, told.append, retry=retry, timeout=timeout)
        made = Recorded(inner, tmp_path / "run", Budget(10**6), warn=told.append)
        print(vars(inner), vars(made), inner, made, inner.name, inner.identity, file=seen)
        try:
            print(made.ask("p", 0), file=seen)
        except ProviderError as error:
            print(repr(error), error.args, vars(error), file=seen)
            print(repr(error.__cause__), repr(error.__context__), file=seen)
            # with the variables of each frame, as some tools print them
            trace = traceback.TracebackException.from_exception(error, capture_locals=True)
            seen.writelines(trace.format())
        assert all(h["Authorization"] == f"Bearer {CANARY}" for h, _ in server.requests)
        assert server.requests
    out, err = capfd.readouterr()
    kept = "".join(p.read_text() for p in tmp_path.rglob("*") if p.is_file())
    assert bool(kept) is (how in ("success", "echo"))
    for text in (seen.getvalue(), "\n".join(told), caplog.text, out, err, kept):
        assert CANARY[:12] not in text
    if how == "echo":
        assert "you are Bearer [MKGEN_API_KEY]" in kept


@pytest.mark.usefixtures("key")
def test_a_key_in_a_redirect():
    """Apart from the others: httpcore logs the headers of responses, when told to."""
    with serving(echo_as_location) as server, pytest.raises(ProviderError) as error:
        endpoint(server).ask("p", 0)
    assert "http://elsewhere/[MKGEN_API_KEY]" in str(error.value)


def test_a_command_that_prints_keys(key, tmp_path):
    shell = "echo $MKGEN_API_KEY; echo bad $MKGEN_API_KEY >&2; exit {}"
    made = Recorded(Command(f"sh -c '{shell.format(0)}'"), tmp_path)
    assert made.ask("p", 0).text == "[MKGEN_API_KEY]\n"
    with pytest.raises(ProviderError, match=r"bad \[MKGEN_API_KEY\]") as error:
        Command(f"sh -c '{shell.format(3)}'").ask("p", 0)
    kept = "".join(p.read_text() for p in tmp_path.iterdir())
    assert CANARY not in kept + repr(error.value)


def test_a_key_of_wrong_letters_is_not_repeated(monkeypatch):
    monkeypatch.setenv("MKGEN_API_KEY", f"{CANARY}\r\nX-Other: 1")
    with serving(says("x")) as server, pytest.raises(ProviderError) as error:
        endpoint(server).ask("p", 0)
    assert "MKGEN_API_KEY" in str(error.value)
    assert CANARY not in repr(error.value)
    assert server.requests == []


@pytest.mark.parametrize("name", [CANARY, "sk_live_0123456789abcdef", "", "A B", "X" * 65])
def test_a_key_in_place_of_its_name_is_not_repeated(name):
    with pytest.raises(UserError, match="never the key itself") as error:
        checked_key_name(name)
    assert not name or name not in str(error.value)


def test_a_variable_that_workers_get_holds_no_key():
    with pytest.raises(UserError, match="MKGEN_BEARER.*workers|MKGEN_BEARER.*worker"):
        checked_key_name("MKGEN_BEARER")
    assert checked_key_name("GROQ_API_KEY") == "GROQ_API_KEY"


def test_workers_do_not_get_keys(monkeypatch, tmp_path):
    names = ("MKGEN_API_KEY", "OPENAI_API_KEY", checked_key_name("MKGEN_OTHER_TOKEN"))
    for name in names:
        monkeypatch.setenv(name, CANARY)
    monkeypatch.setenv("MKGEN_HARMLESS", "seen")
    environment = worker_environment({}, tmp_path, tmp_path)
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    child = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, check=True
    )
    got = json.loads(child.stdout)
    assert got["MKGEN_HARMLESS"] == "seen"
    assert not set(names) & set(got)
    assert CANARY not in got.values()


def test_short_dummies_are_no_secrets(monkeypatch):
    monkeypatch.setenv("MKGEN_API_KEY", "none")
    monkeypatch.setenv("LONGER_API_KEY", f"{CANARY}-more")
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    assert redacted(f"none {CANARY}-more {CANARY}") == "none [LONGER_API_KEY] [OPENAI_API_KEY]"


# --- a command ----------------------------------------------------------------------------------


def command_of(tmp_path: Path, text: str, **changes) -> Command:
    script = tmp_path / "answer.py"
    script.write_text(text)
    return Command(f"{sys.executable} '{script}' 'two words'", **changes)


def test_a_command(tmp_path):
    made = command_of(tmp_path, "import sys; print(sys.argv[1], sys.stdin.read().upper())")
    reply = made.ask("größe " * 50_000, 0)
    assert reply.text == "two words " + "GRÖSSE " * 50_000 + "\n"
    assert (reply.finish, reply.usage.prompt_tokens) == ("stop", None)
    assert "answer.py" in made.name


def test_a_command_that_does_not_read_its_prompt(tmp_path):
    assert command_of(tmp_path, "print('x')").ask("p" * 10**6, 0).text == "x\n"


def test_a_command_that_fails(tmp_path):
    text = "import sys; sys.stderr.write('one\\nno such model\\n'); sys.exit(7)"
    with pytest.raises(ProviderError, match="exit status 7.*no such model"):
        command_of(tmp_path, text).ask("p", 0)


def test_a_command_that_prints_too_much(tmp_path):
    text = "import sys\nwhile True: sys.stdout.write('x' * 9999)"
    with pytest.raises(ProviderError, match="more than 65536 bytes"):
        command_of(tmp_path, text, most_bytes=1 << 16).ask("p", 0)


_WITH_CHILD = """
import os, subprocess, sys, time
child = subprocess.Popen(["sleep", "60"])
open(sys.argv[0] + ".pids", "w").write(f"{os.getpid()} {child.pid}")
os.rename(sys.argv[0] + ".pids", sys.argv[0] + ".started")
"""


def pids(tmp_path: Path) -> list[int]:
    started = tmp_path / "answer.py.started"
    end = time.monotonic() + 10
    while not started.exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    return [int(word) for word in started.read_text().split()]


def gone(pid: int) -> bool:
    end = time.monotonic() + 5
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


def test_nothing_is_left_of_a_command_at_its_timeout(tmp_path):
    made = command_of(tmp_path, _WITH_CHILD + "time.sleep(60)", timeout=1.5)
    with pytest.raises(ProviderError, match="no whole answer within 1.5 s"):
        made.ask("p", 0)
    assert all(map(gone, pids(tmp_path)))


def test_nothing_is_left_of_a_command_that_ended(tmp_path):
    assert command_of(tmp_path, _WITH_CHILD + "print('x')").ask("p", 0).text == "x\n"
    assert all(map(gone, pids(tmp_path)))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_command_does_not_outlive_mkgen(tmp_path, number):
    command_of(tmp_path, _WITH_CHILD + "time.sleep(60)")
    code = (  # a shell's background job, this test in it, ignores SIGINT
        "import signal, sys; from mkgen.llm.command import Command\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "Command(sys.argv[1]).ask('p', 0)"
    )
    words = f"{sys.executable} {tmp_path / 'answer.py'}"
    with subprocess.Popen([sys.executable, "-c", code, words], stderr=subprocess.DEVNULL) as parent:
        started = pids(tmp_path)
        parent.send_signal(number)
        parent.wait(10)
    assert parent.returncode != 0
    assert all(map(gone, started))


@pytest.mark.parametrize("words", ["", "  ", "a 'b", "no-such-command-here x"])
def test_commands_that_cannot_be(words):
    with pytest.raises(UserError, match="--llm-cmd"):
        Command(words)


# --- by hand ------------------------------------------------------------------------------------


def test_answers_by_hand(tmp_path):
    folder = Folder(tmp_path / "answers", again="mkgen gen --answers answers")
    folder.label("the prompt", "softmax-hip:gfx942")
    with pytest.raises(ProviderError) as error:
        folder.require([("the prompt", 0), ("the prompt", 1), ("another", 0)])
    names = [line.strip() for line in str(error.value).splitlines() if "answer.md" in line][1:]
    assert len(names) == 3
    assert "run again: mkgen gen --answers answers" in str(error.value)
    first = folder.answer_path("the prompt", 0)
    assert names[0] == str(first)
    assert first.name.startswith("softmax-hip-gfx942-") and first.name.endswith("-0.answer.md")
    assert folder.prompt_path("the prompt", 0).read_text() == "the prompt"
    with pytest.raises(ProviderError, match=first.name):
        folder.ask("the prompt", 0)
    first.write_text("")
    assert len(folder.pending([("the prompt", 0)])) == 1
    first.write_text("```hip\nx\n```")
    assert folder.ask("the prompt", 0).text == "```hip\nx\n```"
    assert folder.pending([("the prompt", 0), ("the prompt", 1)]) == [
        folder.answer_path("the prompt", 1)
    ]
    assert not [p for p in first.parent.iterdir() if p.name.startswith(".")]


def test_a_label_is_no_path(tmp_path):
    folder = Folder(tmp_path)
    folder.label("p", "../../etc/passwd")
    assert folder.prompt_path("p", 0).parent == tmp_path


# --- choices ------------------------------------------------------------------------------------


def test_which_provider():
    local = {"model": "m", "base_url": "http://localhost:1/v1"}
    assert isinstance(provider_of(ProviderSettings(**local)), Endpoint)
    assert isinstance(provider_of(ProviderSettings(llm_cmd="cat")), Command)
    assert isinstance(provider_of(ProviderSettings(answers=Path("a"))), Folder)
    assert not ProviderSettings().chosen and ProviderSettings(llm_cmd="cat").chosen


@pytest.mark.parametrize(
    ("choices", "told"),
    [
        ({}, "give --model NAME --base-url URL, --llm-cmd"),
        ({"model": "m"}, "--model needs --base-url"),
        ({"base_url": "http://localhost/v1"}, "--base-url needs --model"),
        ({"model": "m", "llm_cmd": "cat"}, "--model and --llm-cmd"),
        ({"answers": Path("a"), "replay": Path("b")}, "--answers and --replay"),
        ({"llm_cmd": "cat", "sampling_seed": 1}, "--sampling-seed has no effect with --llm-cmd"),
        ({"llm_cmd": "cat", "temperature": 1.0}, "--temperature has no effect with --llm-cmd"),
        ({"answers": Path("a"), "max_usd": 1.0}, "--max-usd has no effect with --answers"),
        ({"replay": Path("/nowhere")}, "no exchanges"),
    ],
)
def test_choices_that_say_too_little_or_too_much(choices, told):
    with pytest.raises(UserError, match=told):
        provider_of(ProviderSettings(**choices))


def test_what_is_recorded(tmp_path):
    paid = recorded_provider(ProviderSettings(llm_cmd="cat"), tmp_path)
    assert isinstance(paid, Recorded)
    assert isinstance(recorded_provider(ProviderSettings(answers=tmp_path), tmp_path), Folder)
    with pytest.raises(UserError, match="--price"):
        recorded_provider(ProviderSettings(llm_cmd="cat", max_usd=1.0), tmp_path)


def test_options_become_settings():
    got: list[ProviderSettings] = []

    @click.command()
    @click.option("--other", is_flag=True)
    @provider_options
    def command(other: bool, provider_settings: ProviderSettings) -> None:
        assert other
        got.append(provider_settings)

    words = (
        "--other --model m --base-url http://h/v1 --api-key-env X_KEY --temperature 0.5 "
        "--sampling-seed 3 --max-output-tokens 9 --max-tokens 99 --max-usd 2 --price 2.5,10 "
        "--no-stream --llm-timeout 7"
    )
    ran = CliRunner().invoke(command, words.split(), catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    made = got[0]
    assert (made.model, made.base_url, made.api_key_env) == ("m", "http://h/v1", "X_KEY")
    assert (made.temperature, made.max_output_tokens, made.timeout) == (0.5, 9, 7.0)
    assert made.sampling_seed == 3
    assert (made.max_tokens, made.max_usd, made.price) == (99, 2.0, Price(2.5, 10))
    assert made.stream is False and made.again.startswith("mkgen")
    for wrong in ("1", "1,2,3", "a,b", "-1,2", "nan,1"):
        ran = CliRunner().invoke(command, ["--other", "--price", wrong])
        assert ran.exit_code == 2 and "IN,OUT" in ran.output


def test_every_option_is_explained():
    @click.command()
    @provider_options
    def command(provider_settings: ProviderSettings) -> None:
        pass

    for option in command.params:
        assert isinstance(option, click.Option) and option.help
