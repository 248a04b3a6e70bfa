"""What a caller may put into the query. Anything else is refused: a filter with a slip of the pen must not find all."""

from typing import Annotated, Any

from flask import request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from idp.admin_api.errors import FieldError, Problem


def askable(text: str) -> str:
    """No name has a NUL in it, and not every database can be asked for one."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


Text = Annotated[str, Field(max_length=255), AfterValidator(askable)]


class Query(BaseModel):
    """Nothing at all; those that take something say what."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")


def read_query(kind: type[Query]) -> dict[str, Any]:
    """The query as the view's argument, if the view takes one; :class:`Problem` with what is wrong."""
    given = request.args.to_dict(flat=False)
    wrong = {name: "It is there more than once." for name, values in given.items() if len(values) > 1}
    query = None
    try:
        query = kind.model_validate({name: values[0] for name, values in given.items()})
    except ValidationError as error:
        for problem in error.errors():
            unknown = problem["type"] == "extra_forbidden"
            message = "There is no such parameter." if unknown else f"{problem['msg']}."
            wrong.setdefault(str(problem["loc"][0]), message)
    if wrong or query is None:
        raise bad_query(wrong)
    return {} if kind is Query else {"query": query}


def bad_query(wrong: dict[str, str]) -> Problem:
    """400, with a sentence for each parameter that is to blame."""
    errors = [FieldError(object_name="query", field=name, message=message) for name, message in wrong.items()]
    return Problem(400, "invalidQuery", "The query holds something that cannot be.", field_errors=errors)


def refuse_body() -> None:
    """415: who sends a body expects it to do something, and none of ours does. It is not read."""
    if request.content_length or "Transfer-Encoding" in request.headers:
        raise Problem(415, "unsupportedMediaType", "No operation of this API takes a body. Leave it out.")
