"""``flask --app pickup_learn class``: opens the seats of a room and prints their sheet; resets one seat."""

import sys
from urllib.parse import quote

import click
import segno
from flask import Flask, current_app, render_template
from flask.cli import AppGroup
from markupsafe import Markup

from pickup_learn.current import current_seats


def add_commands(app: Flask) -> None:
    """Give ``app`` the command group ``class``. scripts/class calls it."""
    group = AppGroup("class", help="The seats of a room.")
    group.command("open", help="Put the seats on the board; print a sheet for the lines of standard input.")(open_seats)
    group.command("reset", help="Clear the ticks of one seat.")(reset_seat)
    app.cli.add_command(group)


@click.argument("names", nargs=-1)
def open_seats(names: tuple[str, ...]) -> None:
    """``flask class open``. Each line of standard input is an account and its password."""
    current_seats().open(names)
    lines = sys.stdin.read().splitlines()
    cards = [card(*line.split(" ", 1)) for line in lines if line]
    if cards:
        click.echo(render_template("sheet.html", cards=cards))


def card(name: str, password: str) -> dict[str, object]:
    """What is printed for one seat."""
    addresses: dict[str, str] = current_app.jinja_env.globals["addresses"]  # type: ignore[assignment] # Jinja: Any
    address = f"{addresses['learn']}/tutorial?person={quote(name)}"
    code = segno.make(address, micro=False).svg_inline(omitsize=True, svgclass=None, lineclass=None)
    return {"name": name, "password": password, "address": address, "code": Markup(code)}  # noqa: S704 # segno's own


@click.argument("name")
def reset_seat(name: str) -> None:
    """``flask class reset``."""
    if not current_seats().reset(name):
        raise click.ClickException(f"There is no seat {name!r}.")
    click.echo(f"{name}: its ticks are cleared")
