"""The registered clients: who they are, what they may register, and how they authenticate."""
