"""Small services that show one thing each; tests/examples runs them."""
