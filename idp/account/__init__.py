"""``/account``: a person's own sessions and password."""

from flask import Blueprint, render_template

from idp.own_pages import require_person

blueprint = Blueprint("account", __name__, url_prefix="/account")
blueprint.before_request(require_person)


@blueprint.get("")
def show() -> str:
    """The page."""
    return render_template("account/show.html")
