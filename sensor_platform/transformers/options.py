"""What a format takes under `options` of a route: a model of its own, checked when the route file is read."""

from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from sensor_platform.routes.model import Route


class FormatOptions(BaseModel):
    """Base of what a format takes under `options` of a route. Refused with line and reason when the file is read."""

    model_config = ConfigDict(frozen=True, extra="forbid")


OptionsT = TypeVar("OptionsT", bound=FormatOptions)


def options_of(route: "Route", model: type[OptionsT]) -> OptionsT:
    """The options of a route, as the model of its format has them; parsed once."""
    parsed = route.__dict__.get("parsed_options")
    if type(parsed) is not model:
        parsed = route.__dict__["parsed_options"] = model.model_validate(dict(route.options))
    return parsed


def first_problem(model: type[FormatOptions], options: dict[str, Any]) -> "ErrorDetails | None":
    """What is wrong with options of a route, if anything."""
    try:
        model.model_validate(options)
    except ValidationError as err:
        # Where an option takes a text or a list, each of the two complains: the one that came further is meant.
        return max(err.errors(include_url=False), key=lambda error: len(error["loc"]))
    return None
