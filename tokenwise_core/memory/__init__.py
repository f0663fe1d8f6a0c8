"""Memory that saves money: what to cut, when it pays, and what must survive it."""
