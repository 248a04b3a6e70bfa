"""Query parameters. Unknown ones are refused: a misspelled filter must not match everything."""

from typing import Annotated, Any

from flask import request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from idp.admin_api.errors import FieldError, Problem


def askable(text: str) -> str:
    """Replaces NUL, which PostgreSQL refuses and no name contains."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


Text = Annotated[str, Field(max_length=255), AfterValidator(askable)]


class Query(BaseModel):
    """No parameters; subclasses add theirs."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")


def read_query(kind: type[Query]) -> dict[str, Any]:
    """The query as the view's argument, if it takes one; :class:`Problem` with all errors."""
    given = request.args.to_dict(flat=False)
    wrong = {name: "This parameter appears more than once." for name, values in given.items() if len(values) > 1}
    query = None
    try:
        query = kind.model_validate({name: values[0] for name, values in given.items()})
    except ValidationError as error:
        for problem in error.errors():
            unknown = problem["type"] == "extra_forbidden"
            message = "This parameter does not exist." if unknown else f"{problem['msg']}."
            wrong.setdefault(str(problem["loc"][0]), message)
    if wrong or query is None:
        raise bad_query(wrong)
    return {} if kind is Query else {"query": query}


def bad_query(wrong: dict[str, str]) -> Problem:
    """400, with a sentence for each invalid parameter."""
    errors = [FieldError(object_name="query", field=name, message=message) for name, message in wrong.items()]
    return Problem(400, "invalidQuery", "The query is invalid.", field_errors=errors)
