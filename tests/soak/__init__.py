"""``make soak``: the app under changes, loads, deaths and faults for as long as one likes, and what is left of it."""
