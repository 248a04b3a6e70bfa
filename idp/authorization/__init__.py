"""Machinery of step [2]: the authorization request, its questions to the user, and its response."""
