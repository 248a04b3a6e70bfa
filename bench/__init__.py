"""How fast the relying party is: ``python -m bench``. Figures for this machine, in one process, side by side."""
