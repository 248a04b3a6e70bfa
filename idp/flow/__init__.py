"""The IdP's eight steps of a sign-in and a logout, one file per step. README.md lists all sixteen in order."""
