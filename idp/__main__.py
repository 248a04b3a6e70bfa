"""``python -m idp``: a disposable identity provider for tests (docs/testing-your-app.md)."""

from idp.disposable import main

main()
