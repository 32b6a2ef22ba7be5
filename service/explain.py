"""Validation errors as sentences: which field, which value, and what is allowed there."""

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from service.places import BOUNDS, Parts, Place, Slot, locate, resolve
from service.wording import did_you_mean, mentions, one_of, requirement, safe, shown

Entry = dict[str, Any]

MAX_ENTRIES = 20
_LONGEST_POINTER = 1000

_MISSING = ("missing", "union_tag_not_found")
_OWN_WORDS = ("value_error", "assertion_error", "does_not_fit")
"""Types of errors that the models raise themselves, in whole sentences."""


def body_problems(
    model: type[BaseModel], document: Any, errors: Iterable[ErrorDetails]
) -> list[Entry]:
    """What is wrong with `document`, one entry per place, at most 20."""
    found: dict[Parts, Entry] = {}
    vague: set[Parts] = set()
    for error in errors:
        place = _place(model, document, error)
        if place.parts not in found:
            found[place.parts] = _entry(model, place, document, error)
        if place.guessed or error["type"] == "too_short":
            vague.add(place.parts)
        if len(found) > MAX_ENTRIES:
            break
    # Left out where there is a complaint about something inside: those of the branches of a union
    # that were tried and not meant, and that a list is too short without its wrong items.
    kept = [
        entry
        for parts, entry in found.items()
        if not (parts in vague and any(_is_within(other, parts) for other in found))
    ]
    return kept[:MAX_ENTRIES]


def value_problem(parts: Parts, document: Any, must_be: str) -> Entry:
    """The entry for a value that no field may have."""
    place = Place(parts, Slot())
    message = f"{place.name}: {shown(resolve(document, parts)[1])} is not allowed; {must_be}"
    return _finished(place, document, message, {})


def parameter_problems(errors: Sequence[Any]) -> list[Entry]:
    """What is wrong with the query, one entry per error."""
    return [_own_parameter(error) or _parameter(error) for error in errors[:MAX_ENTRIES]]


def _own_parameter(error: Any) -> Entry | None:
    """The entry for what `dependencies.parameter_error` made."""
    if error["type"] != "parameter":
        return None
    name = error["ctx"]["parameter"]
    value = safe(error["input"].get(name)) if isinstance(error["input"], dict) else None
    return {"pointer": None, "field": name, "message": error["msg"], "value": value}


def _parameter(error: Any) -> Entry:
    name = str(error["loc"][1])  # of a repeated one too, without the number of the repetition
    message = f"{name}: {shown(error['input'])} is not allowed; {_said(error)}"
    entry = {"pointer": None, "field": name, "message": message, "value": safe(error["input"])}
    allowed = _from_context(error)
    return entry | ({"allowed": allowed} if allowed else {})


def _place(model: type[BaseModel], document: Any, error: ErrorDetails) -> Place:
    place = locate(model, error["loc"])
    if error["type"].startswith("union_tag"):
        options = {"one_of": list(place.slot.tags)}
        tag = str(place.slot.discriminator)
        return Place((*place.parts, tag), Slot(bounds=options))
    if error["type"] not in _OWN_WORDS:
        return place
    # The check of a whole object names the field that it is about, or its sentence starts with it.
    about = _about(error)
    if about:
        return _nearest(document, Place((*place.parts, *about), Slot()))
    first = (*place.parts, _said(error).split(" ", 1)[0])
    is_field = first[-1] in place.slot.fields and resolve(document, first)[0]
    return Place(first, Slot()) if is_field else place


def _about(error: ErrorDetails) -> Parts:
    names = str(error.get("ctx", {}).get("field", "")).split(".")
    return tuple(int(name) if name.isdecimal() else name for name in names if name)


def _nearest(document: Any, place: Place) -> Place:
    """The place if there is something, or could be; else what it would be in."""
    while place.parts and not isinstance(resolve(document, place.outer.parts)[1], dict | list):
        place = place.outer
    return place


def _entry(model: type[BaseModel], place: Place, document: Any, error: ErrorDetails) -> Entry:
    allowed = place.slot.allowed or _from_context(error)
    if error["type"] == "extra_forbidden":
        known = list(locate(model, error["loc"][:-1]).slot.fields)
        hint = did_you_mean(place.parts[-1], known)
        message = f"{place.name}: unknown field{hint}; the fields here are {', '.join(known)}"
        return _finished(place, document, message, {"one_of": known})
    if error["type"] in _MISSING:
        return _finished(place, document, f"{place.name}: missing; {_must_be(place, '')}", allowed)
    if place.is_key:
        message = f"the name {shown(place.parts[-1])} is not allowed; {_must_be(place, '')}"
        return _finished(place, document, f"{place.name}: {message}", allowed)
    said = _said(error)
    about = _about(error)
    if about and about[-1] != place.parts[-1]:
        said = f"{about[-1]}: {said}"
    there, sent = resolve(document, place.parts)
    if about and not there:
        return _finished(place, document, f"{place.name}: missing; {said}", allowed)
    text = shown(sent)
    if error["type"] in _OWN_WORDS:
        value = "" if mentions(said, text) else f"{text} is not allowed; "
        return _finished(place, document, f"{place.name}: {value}{said}", allowed)
    message = f"{place.name}: {text} is not allowed; {_must_be(place, said)}"
    hint = did_you_mean(sent, allowed.get("one_of", []))
    return _finished(place, document, message + hint, allowed)


def _must_be(place: Place, said: str) -> str:
    if "one_of" in place.slot.allowed:
        return f"it must be {one_of(place.slot.allowed['one_of'])}"
    needed = requirement(place.slot)
    return f"it must be {needed}" if needed else said or "it is required"


def _finished(place: Place, document: Any, message: str, allowed: dict[str, Any]) -> Entry:
    there, value = resolve(document, place.parts)
    pointer = place.pointer if len(place.pointer) <= _LONGEST_POINTER else place.outer.pointer
    field = place.name if place.parts else ""
    entry: Entry = {"pointer": pointer, "field": field, "message": message}
    if there:
        entry["value"] = safe(value)
    return entry | ({"allowed": allowed} if allowed else {})


def _said(error: Any) -> str:
    message = str(error["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return message.replace("Input should ", "it must ", 1)


def _from_context(error: Any) -> dict[str, Any]:
    context = error.get("ctx", {})
    return {name: context[name] for name in (*BOUNDS, "expected") if name in context}


def _is_within(inner: Parts, outer: Parts) -> bool:
    return len(inner) > len(outer) and inner[: len(outer)] == outer
