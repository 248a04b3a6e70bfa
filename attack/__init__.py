"""A hostile OpenID Provider: sends malicious and unusual logout requests to any relying party.

    python -m attack --help

It starts its own small provider, which the application under test is configured to use. It signs users in at
the application over HTTP, sends it logout requests, and checks which sessions have ended.

Reading order: __main__.py (arguments, order), provider.py, browser.py, wire.py, tokens.py, bench.py,
cases.py and token_cases.py (the table) with scenes.py (cases with several requests), judge.py, report.py; pickup.py.
"""
