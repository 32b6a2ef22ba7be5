"""Where in a document a validation error is, and what the model says may stand there.

The locations that pydantic reports run through the *types*: they also name the branch of a union
that was tried. Only the type tells a branch's name from a field's, so the models are walked along.
"""

import types
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

BOUNDS = ("ge", "gt", "le", "lt", "multiple_of", "min_length", "max_length")
_LONGEST_NAME = 100

Parts = tuple[str | int, ...]


@dataclass(frozen=True)
class Slot:
    """What may stand at one place: a type without its wrappers, and the bounds on it."""

    type: Any = Any
    discriminator: str | None = None
    bounds: dict[str, Any] = field(default_factory=dict)

    @property
    def branches(self) -> tuple[Any, ...]:
        """The branches of a union, None left out; empty for every other type."""
        is_union = get_origin(self.type) in (Union, types.UnionType)
        return tuple(a for a in get_args(self.type) if a is not type(None)) if is_union else ()

    @property
    def fields(self) -> dict[str, FieldInfo]:
        """The fields of a model by the names they have in JSON; empty for every other type."""
        if not (isinstance(self.type, type) and issubclass(self.type, BaseModel)):
            return {}
        return {info.alias or name: info for name, info in self.type.model_fields.items()}

    @property
    def tags(self) -> dict[str, Any]:
        """The branches of a discriminated union by their tag; empty for every other type."""
        found: dict[str, Any] = {}
        for branch in self.branches if self.discriminator else ():
            for tag in slot(branch).literals(str(self.discriminator)):
                found[tag] = branch
        return found

    def literals(self, name: str) -> tuple[Any, ...]:
        """What the field of that name may be: of a union, in any of its branches."""
        if self.branches:
            every = [slot(branch).literals(name) for branch in self.branches]
            return tuple(dict.fromkeys(value for values in every for value in values))
        return get_args(self.fields[name].annotation)

    @property
    def allowed(self) -> dict[str, Any]:
        """The bounds, or the only values there are, as data."""
        if get_origin(self.type) is Literal:
            return {"one_of": list(get_args(self.type))}
        return self.bounds


@dataclass(frozen=True)
class Place:
    """A place in a document: the path to it, and what may stand there.

    `guessed`: the last step was a branch of a union, tried because nothing in the document says
    which one is meant. `is_key`: it is about the name there rather than the value.
    """

    parts: Parts
    slot: Slot
    guessed: bool = False
    is_key: bool = False

    @property
    def pointer(self) -> str:
        """The path as a JSON Pointer (RFC 6901)."""
        escaped = (str(part).replace("~", "~0").replace("/", "~1") for part in self.parts)
        return "".join(f"/{part}" for part in escaped)

    @property
    def name(self) -> str:
        """The path as people write it, shortened: `search.lr_range`, `model.args.hidden[0]`."""
        steps = (f"[{p}]" if isinstance(p, int) else f".{p[:_LONGEST_NAME]}" for p in self.parts)
        return "".join(steps).removeprefix(".") or "the body"

    @property
    def outer(self) -> "Place":
        """What it is in."""
        return Place(self.parts[:-1], Slot())


def slot(annotation: Any, constraints: Sequence[Any] = (), discriminator: Any = None) -> Slot:
    """What `annotation` allows, with `Annotated` and `| None` taken off."""
    collected = list(constraints)
    while True:
        if get_origin(annotation) is Annotated:
            annotation, *extras = get_args(annotation)
            for extra in extras:
                collected += extra.metadata if isinstance(extra, FieldInfo) else [extra]
                discriminator = discriminator or getattr(extra, "discriminator", None)
            continue
        branches = Slot(annotation).branches
        if len(branches) != 1:
            break
        annotation = branches[0]
    tag = discriminator if isinstance(discriminator, str) else None
    return Slot(annotation, tag, _bounds(collected))


def locate(model: type[BaseModel], loc: Sequence[str | int]) -> Place:
    """The place in a document of `model` that pydantic's `loc` stands for."""
    if len(loc) > 1 and loc[-1] == "[key]":
        mapping = locate(model, loc[:-2])
        if get_origin(mapping.slot.type) is dict:
            keys = slot(get_args(mapping.slot.type)[0])
            return Place((*mapping.parts, loc[-2]), keys, is_key=True)
    place = Place((), slot(model))
    for component in loc:
        place = _step(place, component)
    return place


def resolve(document: Any, parts: Parts) -> tuple[bool, Any]:
    """Whether there is something at that path, and what."""
    for part in parts:
        if not isinstance(document, dict | list):
            return False, None
        try:
            document = document[part]  # type: ignore[index]
        except (LookupError, TypeError):
            return False, None
    return True, document


def _step(place: Place, component: str | int) -> Place:
    here = place.slot
    if here.discriminator:  # the document has chosen the branch
        return replace(place, slot=slot(here.tags.get(str(component), Any)))
    if here.branches and not place.guessed:  # pydantic's name of the branch it tries now
        return replace(place, guessed=True)
    inside = _container(here.branches) if here.branches else here
    return Place((*place.parts, component), _inside(inside, component))


def _inside(outer: Slot, component: str | int) -> Slot:
    if info := outer.fields.get(str(component)):
        return slot(info.annotation, info.metadata, info.discriminator)
    arguments = get_args(outer.type)
    if get_origin(outer.type) in (list, tuple) and arguments:
        return slot(arguments[0])  # of a tuple as of a list: ours are all tuple[item, ...]
    if get_origin(outer.type) is dict and arguments:
        return slot(arguments[1])
    return Slot()


def _container(branches: Iterable[Any]) -> Slot:
    """The one branch that something can be inside of: longer locations lead into it."""
    slots = [slot(branch) for branch in branches]
    inner = [s for s in slots if s.fields or get_origin(s.type) in (list, tuple, dict)]
    return inner[0] if len(inner) == 1 else Slot()


def _bounds(constraints: Iterable[Any]) -> dict[str, Any]:
    found = {}
    for constraint in constraints:
        for name in BOUNDS:
            bound = getattr(constraint, name, None)
            if bound is not None:
                found[name] = bound
    return found
