"""Install the built wheel without extras in an environment of its own, and use it: `try_wheel.py FOLDER`."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

PROGRAM = """
import sys
import tokenwise_core
assert not {"torch", "faiss", "langchain_core", "llama_index", "onnxruntime"} & set(sys.modules), "import is not light"
from tokenwise_core.demo.workload import load_workload
assert len(load_workload().documents) >= 60, "the workload is not in the wheel"
from tokenwise_core.tokens import TokenCounter
assert TokenCounter.for_model("gpt-4o").text("hello") >= 1
from tokenwise_core.usage.store import open_store
open_store("memory://").close()
from tokenwise_core.cache import CachedAnswer, CacheRequest, SemanticCache
from tokenwise_core.messages import Message, Prompt
request = CacheRequest(prompt=Prompt(messages=(Message(role="user", text="hello?"),)), model="m")
with SemanticCache(namespace="wheel", entries="sqlite:///cache.sqlite", deadline_ms=30_000) as cache:
    cache.run(request, lambda: CachedAnswer(text="hi"))
    assert cache.run(request, lambda: CachedAnswer(text="no")).answer.text == "hi", "no exact hit without extras"
    assert "sqlite" in cache.entries.url
import tokenwise_langchain, tokenwise_llamaindex
for package, extra in ((tokenwise_langchain, "langchain"), (tokenwise_llamaindex, "llamaindex")):
    try:
        package.TokenBreakdownHandler
    except ImportError as error:
        assert f"tokenwise[{extra}]" in str(error), error
    else:
        raise AssertionError(f"{package.__name__} must name its extra where the framework is absent")
"""


def main(folder: Path) -> None:
    [wheel] = folder.glob("tokenwise-*.whl")
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run([sys.executable, "-m", "venv", scratch], check=True)
        python = Path(scratch) / "bin" / "python"
        uv = Path(sys.executable).with_name("uv")
        environment = {**os.environ, "UV_SYSTEM_CERTS": "1", "UV_FIND_LINKS": os.environ.get("PIP_FIND_LINKS", "")}
        install = [str(uv), "pip", "install", "--quiet", "--python", str(python), str(wheel)]
        subprocess.run(install, check=True, env=environment)
        clean = {"PATH": os.environ["PATH"], "HOME": scratch, "TOKENWISE_OFFLINE": "1"}
        subprocess.run([str(python), "-c", PROGRAM], check=True, cwd=scratch, env=clean)
        for arguments in (["--version"], ["doctor"], ["prices", "show", "gpt-4o"]):
            subprocess.run([str(python.with_name("tokenwise")), *arguments], check=True, cwd=scratch, env=clean)
    print(f"{wheel.name}: installs, imports and runs without extras")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
