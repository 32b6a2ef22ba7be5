"""What a check of an installation finds: how it stands, what was seen, and how to mend it.

Each part of lrtuner examines what is its own, in a process of its own, which may lack what the
others need, and may crash; it hands its findings on as JSON.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum


class State(StrEnum):
    """How something stands."""

    OK = "ok"
    WARNING = "warning"  #: it works, and somebody should know
    PROBLEM = "problem"  #: it does not work


@dataclass(frozen=True)
class Diagnosis:
    """One finding.

    Attributes:
        check: what was looked at, in a word or two.
        state: how it stands.
        told: what was seen.
        remedy: how to mend it; empty where all is well.
    """

    check: str
    state: State
    told: str
    remedy: str = ""


@dataclass(frozen=True)
class Examination:
    """What one part found, and the environment variables that it knows."""

    diagnoses: list[Diagnosis]
    variables: list[str]

    def text(self) -> str:
        """As JSON, on one line."""
        return json.dumps(asdict(self))

    @classmethod
    def parsed(cls, text: str) -> "Examination":
        """From JSON.

        Raises:
            ValueError: it is something else.
        """
        try:
            data = json.loads(text)
            found = [
                Diagnosis(**item | {"state": State(item["state"])}) for item in data["diagnoses"]
            ]
            return cls(found, [str(name) for name in data["variables"]])
        except (KeyError, TypeError) as error:
            raise ValueError(f"no examination: {error!r}") from None


def fine(check: str, told: str) -> Diagnosis:
    """All is well."""
    return Diagnosis(check, State.OK, told)


def warned(check: str, told: str, remedy: str) -> Diagnosis:
    """It works, and somebody should know."""
    return Diagnosis(check, State.WARNING, told, remedy)


def wrong(check: str, told: str, remedy: str) -> Diagnosis:
    """It does not work."""
    return Diagnosis(check, State.PROBLEM, told, remedy)


def invalid_settings(error: Exception) -> list[Diagnosis]:
    """One for each line of what is said of settings that are not valid."""
    remedy = "the README's section Settings lists what each of them may be"
    return [wrong("settings", line, remedy) for line in str(error).splitlines()]


def distinct(diagnoses: Iterable[Diagnosis]) -> list[Diagnosis]:
    """Each once, where it was first."""
    return list(dict.fromkeys(diagnoses))
