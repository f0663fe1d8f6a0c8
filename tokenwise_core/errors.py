"""Everything that TokenWise raises on purpose.

    TokenwiseError
    ├── MissingExtra      an optional package is needed and absent      (also an ImportError)
    ├── BadInput          the caller gave something that cannot be used  (also a ValueError)
    └── StoreError        the usage store cannot be opened or read
        └── StoreTooNew   it was written by a newer release

Nothing here reaches an application's model call: failures of ours are logged and counted (`tokenwise.*` loggers).
"""

from __future__ import annotations


class TokenwiseError(Exception):
    """Base of all errors raised by TokenWise."""


class MissingExtra(TokenwiseError, ImportError):
    """An optional package is needed; carries the module and the extra that installs it."""

    def __init__(self, module: str, extra: str) -> None:
        self.module, self.extra = module, extra
        super().__init__(f'{module} is not installed: pip install "tokenwise[{extra}]"')


class BadInput(TokenwiseError, ValueError):
    """The caller gave something that cannot be used; the message says what and what to give instead."""


class StoreError(TokenwiseError):
    """The usage store cannot be opened, read or written; carries its URL (without password)."""

    def __init__(self, message: str, *, url: str) -> None:
        self.url = url
        super().__init__(message)


class StoreTooNew(StoreError):
    """The store was written by a newer release; carries both schema versions."""

    def __init__(self, *, url: str, found: int, supported: int) -> None:
        self.found, self.supported = found, supported
        super().__init__(
            f"{url} has schema version {found}, this release writes {supported}: upgrade tokenwise", url=url
        )
