"""suite/ is what a user of the plugin writes: it runs in an environment of its own (test_distribution.py)."""

collect_ignore = ["suite"]
