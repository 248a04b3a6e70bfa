"""Each page of the console, by HTTP."""
