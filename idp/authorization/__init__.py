"""Machinery of steps [3] and [10]: the authorization request and its response, and the logout request."""
