"""A function of a service becomes a reaction or an endpoint, or an error that says what is wrong and how to mend it."""
