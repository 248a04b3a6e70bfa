"""Machinery of step [4]: the shared session, passwords, and the limit on wrong ones."""
