from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tokenwise_core import __version__, cli
from tokenwise_core.cli import COMMANDS, main


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"    {name} " in shown for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_of_its_own(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert f"usage: tokenwise {command}" in capsys.readouterr().out


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"tokenwise {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["report", "--by", "colour"],
        ["report", "--frob"],
        ["count"],
        ["prices"],
        ["purge"],
        ["demo", "x"],
    ],
)
def test_wrong_arguments_are_one_line_and_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("tokenwise: ")
    assert captured.err.count("\n") == 1


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "commands:" in capsys.readouterr().out


def test_control_c_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(argv: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_run", interrupted)
    assert main(["report"]) == 130


def test_a_closed_pipe_is_quiet() -> None:
    program = [sys.executable, "-m", "tokenwise_core.cli", "prices", "show", "gpt-4o"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_help_loads_nothing_heavy() -> None:
    heavy = {"numpy", "tiktoken", "sqlalchemy", "genai_prices", "rich", "pydantic", "langchain_core", "llama_index"}
    program = f"import sys; from tokenwise_core.cli import main; main(['--help']); print({heavy!r} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


def test_the_installed_command_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tokenwise_core.cli", "count", "-"],
        input="Hello there, world",
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )
    assert done.stdout.startswith("4 tokens (exact): a text for gpt-4o\n")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437"])
def test_an_encoding_without_our_signs_gets_plain_ones(encoding: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tokenwise_core.cli", "prices", "show", "gpt-4o"],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    assert done.stderr == b""
    assert "gpt-4o" in done.stdout.decode(encoding)
    assert b"?" not in done.stdout


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")  # noqa: PTH110  a device
def test_a_full_disk_is_one_line_and_status_2() -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123  a device
        program = [sys.executable, "-m", "tokenwise_core.cli", "prices", "show", "gpt-4o"]
        done = subprocess.run(program, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "tokenwise: No space left on device\n")
