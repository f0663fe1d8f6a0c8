from __future__ import annotations

import subprocess
import sys

import pytest

from tokenwise_core._optional import require
from tokenwise_core.errors import MissingExtra, TokenwiseError


def test_an_absent_package_is_named_with_the_command_that_adds_it() -> None:
    with pytest.raises(MissingExtra, match=r'pip install "tokenwise\[postgres\]"') as caught:
        require("no_such_package", extra="postgres")
    assert (caught.value.module, caught.value.extra) == ("no_such_package", "postgres")
    assert isinstance(caught.value, TokenwiseError)
    assert isinstance(caught.value, ImportError)


@pytest.mark.parametrize(
    ("package", "framework", "extra"),
    [("tokenwise_langchain", "langchain_core", "langchain"), ("tokenwise_llamaindex", "llama_index", "llamaindex")],
)
def test_an_adapter_without_its_framework_can_be_imported_and_says_what_to_install(
    package: str, framework: str, extra: str
) -> None:
    program = f"""
import sys
sys.modules["{framework}"] = None
sys.modules["llama_index_instrumentation"] = None
import {package}
try:
    {package}.TokenBreakdownHandler
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert f'pip install "tokenwise[{extra}]"' in done.stdout
