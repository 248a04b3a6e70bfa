"""``/console``: what an operator sees and does."""

from flask import Blueprint, render_template

from idp.own_pages import require_operator

blueprint = Blueprint("console", __name__, url_prefix="/console")
blueprint.before_request(require_operator)


@blueprint.get("")
def show() -> str:
    """The way in."""
    return render_template("console/show.html")
