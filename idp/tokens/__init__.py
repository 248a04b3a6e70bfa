"""Machinery of step [5]: Authlib's wiring, the grants, the ID token and its signing keys."""
