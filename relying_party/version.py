"""The version of this distribution; what changed is in CHANGELOG.md."""

VERSION = "0.1.0"
