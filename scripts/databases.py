"""Creates a database and a role for each service (``make up SCALE=2``). Changes only what differs.

A role can connect to its own database only, and owns it. The passwords come from .env. Each role has a limit of
connections, so that one service cannot use up those of the others.
"""

import os

import psycopg
from psycopg import Connection
from psycopg.sql import SQL, Identifier, Literal

# Eight replicas, each with two workers of 20 connections and a main process with one; Learn: one worker. And 12 for
# commands, such as `flask reset`. docs/scaling.md has the sum, which must fit into docker-compose.scale.yml.
CONNECTIONS = {"idp": 340, "dispatch": 340, "manager": 340, "learn": 32}


def make(connection: Connection, service: str, password: str) -> None:
    """The role and the database. Both have the service's name."""
    name = Identifier(service)
    if not exists(connection, "SELECT 1 FROM pg_roles WHERE rolname = %s", service):
        connection.execute(SQL("CREATE ROLE {} LOGIN").format(name))
    # `make up` may have made a new password, because .env was deleted. Only its hash is sent: statements may be logged.
    stored = connection.pgconn.encrypt_password(password.encode(), service.encode(), b"scram-sha-256").decode()
    limit = Literal(CONNECTIONS[service])
    connection.execute(SQL("ALTER ROLE {} CONNECTION LIMIT {} PASSWORD {}").format(name, limit, Literal(stored)))
    if not exists(connection, "SELECT 1 FROM pg_database WHERE datname = %s", service):
        connection.execute(SQL("CREATE DATABASE {} OWNER {}").format(name, name))
    connection.execute(SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))  # by default every role can connect


def exists(connection: Connection, query: str, name: str) -> bool:
    """Whether the query finds a row."""
    return connection.execute(query, [name]).fetchone() is not None


def main() -> None:
    """As the superuser, through the server's socket. No service has the socket."""
    with psycopg.connect(host="/socket", user="postgres", autocommit=True) as connection:
        for service in CONNECTIONS:
            make(connection, service, os.environ[f"PICKUP_{service.upper()}_DATABASE_PASSWORD"])
        connection.execute("REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC")


if __name__ == "__main__":
    main()
