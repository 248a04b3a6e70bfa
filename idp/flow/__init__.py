"""The story: the eight steps of a sign-in and a logout at the IdP, one file a step."""
