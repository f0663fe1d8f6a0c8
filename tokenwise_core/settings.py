"""One configuration, from arguments, the environment (`TOKENWISE_…`) and a TOML file (`TOKENWISE_CONFIG`)."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from platformdirs import user_data_path
from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from tokenwise_core.errors import BadInput


def default_store() -> str:
    """Return the URL of the SQLite file under the user's data directory."""
    return f"sqlite:///{user_data_path('tokenwise', appauthor=False) / 'usage.sqlite'}"


def default_cache() -> str:
    """Return the URL of the cache's SQLite file under the user's data directory."""
    return f"sqlite:///{user_data_path('tokenwise', appauthor=False) / 'cache.sqlite'}"


def default_sessions() -> str:
    """Return the URL of the sessions' SQLite file under the user's data directory."""
    return f"sqlite:///{user_data_path('tokenwise', appauthor=False) / 'sessions.sqlite'}"


class Settings(BaseSettings):
    """What TokenWise reads from its surroundings; every field is `TOKENWISE_<NAME>` in the environment."""

    model_config = SettingsConfigDict(env_prefix="TOKENWISE_", env_ignore_empty=True, extra="ignore")

    store: str = Field(default_factory=default_store, description="URL of the usage store")
    cache: str = Field(default_factory=default_cache, description="URL of the semantic cache's entries")
    sessions: str = Field(default_factory=default_sessions, description="URL of the memory's sessions")
    prices: Path | None = Field(default=None, description="TOML file with prices of your own")
    keep_text: bool = Field(default=False, description="store prompts and answers with each event")
    redact: str | None = Field(
        default=None,
        pattern=r"^[\w.]+:\w+$",
        description="hook for each kept text: package.module:function",
    )
    raw_days: float = Field(default=30, gt=0, description="how long single calls are kept")
    rollup_days: float = Field(default=400, gt=0, description="how long hourly and daily sums are kept")
    max_store_mb: float | None = Field(default=None, gt=0, description="how large the store may grow")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        config = os.environ.get("TOKENWISE_CONFIG")
        toml = (TomlConfigSettingsSource(settings_cls, Path(config)),) if config else ()
        return (init_settings, env_settings, *toml)


def load_settings(*, store: str | None = None) -> Settings:
    """Return the settings in force; wrong values, and a file that is not there, raise `BadInput` naming them."""
    config = os.environ.get("TOKENWISE_CONFIG")
    if config and not Path(config).is_file():
        raise BadInput(f"TOKENWISE_CONFIG {config}: there is no such file")
    try:
        return Settings(store=store) if store else Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"setting {name}: {first['msg']}") from error
    except (tomllib.TOMLDecodeError, OSError) as error:
        raise BadInput(f"TOKENWISE_CONFIG {config}: {error}") from error
