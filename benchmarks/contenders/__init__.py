"""The same hop, written for each peer as its documentation writes it: pull, validate, react, publish, acknowledge."""
