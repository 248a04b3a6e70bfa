"""Machinery of step [7]: the rows of the outbox, the sender, and the guarded HTTP client."""
