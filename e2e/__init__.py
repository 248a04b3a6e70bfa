"""The stories, told to real processes by a real browser. ``make e2e``; what there is to set: conftest.py."""
