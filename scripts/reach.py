"""Sends a request and prints the status, or a member of the JSON response: ``reach.py METHOD URL [MEMBER]``.

scripts/doctor runs it in each service's own network.
"""

import os
import sys

import requests

from pickup_web import localhost

localhost.install(ask_resolver=os.environ.get("PICKUP_COMPOSE_NETWORK", "").lower() == "true")
method, url, member = sys.argv[1:4]
session = requests.Session()
session.trust_env = False  # like the services, which call each other without a proxy
session.verify = os.environ.get("PICKUP_CA_BUNDLE") or True
try:
    response = session.request(method, url, timeout=5, allow_redirects=False)
    print(response.json().get(member) if member else response.status_code)
except (requests.RequestException, ValueError, AttributeError) as error:
    print(f"{type(error).__name__}: {error}")
