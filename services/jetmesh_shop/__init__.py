"""The reference mesh: small services that react to what just happened to an order."""
