"""Measures the relying party and the IdP: ``python -m bench``. The figures are for this machine, in one process."""
