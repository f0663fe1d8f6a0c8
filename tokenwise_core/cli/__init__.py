"""The command line: `tokenwise COMMAND`. A command's module is imported when it is asked for, so that help is quick."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from tokenwise_core import __version__
from tokenwise_core.cli.arguments import Parser
from tokenwise_core.cli.streams import accept_all_text, close_quietly, let_go
from tokenwise_core.errors import TokenwiseError

COMMANDS = {
    "count": "count the tokens of a text or a request, before it is sent",
    "report": "where the tokens and the money went",
    "prices": "what models cost, and which recorded models have no price",
    "cache": "what the semantic cache holds, served and refused; explain, judge, purge, export, import",
    "memory": "which sessions the memory keeps, and what stands in one; purge",
    "demo": "run the bundled workload through LangChain and LlamaIndex, accounted",
    "purge": "delete what is stored about a user, a session or an application",
    "doctor": "what is installed and in use, what is missing, and the command that adds it",
}
BAD_INPUT, INTERRUPTED, BROKEN_PIPE = 2, 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    0 is success, 1 a finding (`prices check`), 2 bad input with one line on stderr, 130 Ctrl-C, 141 a closed pipe.
    """
    accept_all_text()
    try:
        status = _run(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except TokenwiseError as error:
        print("tokenwise:", " ".join(str(error).split()), file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        close_quietly()
        return BROKEN_PIPE
    except OSError as error:  # a full disk behind stdout, a file that may not be read
        let_go()
        where = f" ({error.filename})" if error.filename else ""
        print(f"tokenwise: {error.strerror or error}{where}", file=sys.stderr)
        return BAD_INPUT
    except SystemExit as stop:  # argparse: 0 for help and version, 2 for wrong arguments
        return stop.code if isinstance(stop.code, int) else BAD_INPUT
    return status


def _run(argv: list[str]) -> int:
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.command is None:
        parser.print_help()
        return BAD_INPUT
    return int(arguments.run(arguments))


class _Command(Parser):
    """A command's parser, filled by the command's module (`add_arguments`, `run`) when it is asked for."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        module = import_module(f"tokenwise_core.cli.{self.prog.split()[-1]}")
        self.add_store(default=argparse.SUPPRESS)  # what stood before the command holds unless it is given again
        module.add_arguments(self)
        self.set_defaults(run=module.run)
        return super().parse_known_args(args, namespace)


def _parser() -> Parser:
    parser = Parser(
        prog="tokenwise",
        description="Where every token of LangChain and LlamaIndex applications goes, and what it costs.",
        epilog="`tokenwise COMMAND --help` tells more about a command.",
    )
    parser.add_argument("--version", action="version", version=f"tokenwise {__version__}")
    parser.add_store()
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands", parser_class=_Command)
    for name, text in COMMANDS.items():
        commands.add_parser(name, prog=f"tokenwise {name}", help=text, description=f"{text[0].upper()}{text[1:]}.")
    return parser
