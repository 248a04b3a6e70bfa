"""Page objects: a class a page; everything on it is found as a person finds it, by role and label."""
