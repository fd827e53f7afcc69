"""The way into a mesh for a program that is no service of it."""
