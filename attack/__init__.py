"""An OpenID Provider that does not mean well: hostile and odd logout requests against any relying party.

    python -m attack --help

It starts a small provider of its own, which the application under test is pointed at by its settings, signs
people in at the application over HTTP, sends it logout requests, and looks what became of the sessions.

Reading order: __main__.py (arguments, order), provider.py, browser.py, wire.py, tokens.py, bench.py,
cases.py (the table) with scenes.py (what takes more than one request), judge.py, report.py; pickup.py.
"""
