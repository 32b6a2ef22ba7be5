"""What can be configured: environment variables with the prefix `LRTUNER_`.

Here are the settings that the API and the workers share; each process adds its own to them. Every
setting may also be given by a file, whose name is in the variable of that name with `_FILE` at its
end: that is how containers hand out passwords.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import quote, urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError, ValidationInfo
from pydantic import field_validator as validates
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from lrtuner.datasets.limits import MEBIBYTE
from lrtuner.datasets.limits import Limits as DatasetLimits
from lrtuner.errors import InvalidInputError
from lrtuner.logs import Style
from lrtuner.sources.code import AllowedList

PREFIX = "LRTUNER_"
BY_FILE = "_FILE"

_SQLITE = "sqlite"

S = TypeVar("S", bound=BaseSettings)


class DatabaseSettings(BaseSettings):
    """Where the database is. An empty variable counts as not set."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="ignore"
    )

    data_dir: Path = Field(
        default=Path(".lrtuner"),
        description="The folder of the default database and of uploads. Worker and API must see "
        "the same one.",
    )
    database_password: SecretStr | None = Field(
        default=None,
        repr=False,
        description="The password of the database's user, where it is not in the URL; of any "
        "characters.",
    )
    database_url: str = Field(
        default_factory=lambda known: f"sqlite:///{known['data_dir'] / 'lrtuner.db'}",
        validate_default=True,
        repr=False,  # it may hold a password
        description="The database, shared by the API and the workers: `sqlite:///path` or "
        "`postgresql+psycopg://user:password@host/name`. Default: `lrtuner.db` in the data folder.",
    )

    @validates("database_url")
    @classmethod
    def _with_password(cls, url: str, known: ValidationInfo) -> str:
        password = known.data.get("database_password")
        if password is None:
            return url
        if url.startswith(_SQLITE):
            raise ValueError("a SQLite file has no password: leave out LRTUNER_DATABASE_PASSWORD")
        user, at, host = urlsplit(url).netloc.rpartition("@")
        if not user or ":" in user:
            raise ValueError(
                "must name a user and no password, as LRTUNER_DATABASE_PASSWORD is set: "
                "postgresql+psycopg://user@host/name"
            )
        secret = quote(password.get_secret_value(), safe="")
        return url.replace(f"//{user}{at}{host}", f"//{user}:{secret}@{host}", 1)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is given
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - likewise
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is passed, then the variables, then the files that variables name."""
        return init_settings, env_settings, _Files(settings_cls)


def _web_address(value: str) -> str:
    if value and not value.startswith(("http://", "https://")):
        raise ValueError("must start with http:// or https://")
    return value.rstrip("/")


class SharedSettings(DatabaseSettings):
    """What the API and the workers are both told, in the same words."""

    public_url: Annotated[str, AfterValidator(_web_address)] = Field(
        default="",
        description="The address under which clients reach the API, such as "
        "`https://lrtuner.example.org`; links and `$schema` start with it. Default: links are bare "
        "paths, and `$schema` names `http://127.0.0.1:8470`.",
    )
    data_root: Path | None = Field(
        default=None,
        description="The folder below which jobs may name files as their dataset. Not set: none.",
    )
    max_dataset_mb: int = Field(
        default=8192,
        ge=1,
        le=1024**2,
        description="The largest dataset as arrays, in MiB.",
    )
    preload_mb: int = Field(
        default=1024,
        ge=1,
        le=1024**2,
        description="The largest dataset that lies in memory as arrays, in MiB; larger ones are "
        "streamed from files in `scratch` in the data folder.",
    )
    code: bool = Field(
        default=False,
        description="Accept projects of code, and jobs whose model is one; the workers run them, "
        "each in a sandbox.",
    )
    entrypoints: AllowedList = Field(
        default="",
        description="The functions that a job may name as its model: `package.module:function` or "
        "`package.*`, separated by commas. Not set: none.",
    )
    log_level: str = Field(
        default="info", pattern="^(debug|info|warning|error)$", description="Least level logged."
    )
    log_format: Style = Field(
        default="text", description="A line of text or of JSON for each thing that is logged."
    )

    @property
    def dataset_limits(self) -> DatasetLimits:
        """How large a file of examples may be."""
        return DatasetLimits(
            array_bytes=self.max_dataset_mb * MEBIBYTE,
            preload_bytes=self.preload_mb * MEBIBYTE,
            scratch=(self.data_dir / "scratch").absolute(),
        )


def from_environment(kind: type[S]) -> S:
    """The settings of that kind.

    Raises:
        InvalidInputError: a variable is not valid; the message has a line for each, with its name,
            and its value unless that is a secret.
    """
    try:
        return kind()
    except ValidationError as error:
        told = (_told(kind, problem) for problem in error.errors())
        raise InvalidInputError("\n".join(told)) from None


def url_from_environment() -> str:
    """`LRTUNER_DATABASE_URL`, or a SQLite file in `LRTUNER_DATA_DIR` (default `./.lrtuner`).

    Raises:
        InvalidInputError: as `from_environment`.
    """
    return from_environment(DatabaseSettings).database_url


def without_database(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables, without the way to the database: for processes that have no use for it."""
    secret = {variable(name) for name in ("database_url", "database_password")}
    secret |= {name + BY_FILE for name in secret}
    return {name: value for name, value in environ.items() if name not in secret}


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


class _Files(PydanticBaseSettingsSource):
    """`LRTUNER_X_FILE`: the file that has the value of `LRTUNER_X`, without the newline behind."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        """See `pydantic_settings`."""
        name = variable(field_name)
        path = os.environ.get(name + BY_FILE)
        if not path:
            return None, field_name, False
        if os.environ.get(name):
            raise InvalidInputError(
                f"{name} and {name}{BY_FILE} are both set: leave one of them out"
            )
        try:
            return Path(path).read_text().rstrip("\r\n"), field_name, False
        except (OSError, ValueError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or "it is no text"
            raise InvalidInputError(f"{name}{BY_FILE}={path}: cannot read it: {reason}") from None

    def __call__(self) -> dict[str, Any]:
        """What files say."""
        fields = self.settings_cls.model_fields
        found = {name: self.get_field_value(field, name)[0] for name, field in fields.items()}
        return {name: value for name, value in found.items() if value}


def _told(kind: type[BaseSettings], problem: Any) -> str:
    name = str(problem["loc"][0])
    reason = problem["msg"].removeprefix("Value error, ")
    is_secret = not kind.model_fields[name].repr
    return f"{variable(name)}: {reason}" + ("" if is_secret else f" (got {problem['input']!r})")
