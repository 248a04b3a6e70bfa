"""Machinery of step [3]: the authorization request, its questions to the user, and its response."""
