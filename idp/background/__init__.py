"""What each worker does beside its requests: poll the outbox, finish, expire, delete."""
