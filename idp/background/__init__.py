"""What each worker does beside its requests: poll the outbox, end expired sessions, clean up."""
