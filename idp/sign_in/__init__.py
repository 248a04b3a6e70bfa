"""Machinery of step [1]: the shared session, passwords, and the limit on wrong ones."""
