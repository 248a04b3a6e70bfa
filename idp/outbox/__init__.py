"""Machinery of step [13]: the rows of the outbox, the sender, and the guarded HTTP client."""
