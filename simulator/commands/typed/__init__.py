"""Typed: what a user types, command by command; each fetches what it needs when it runs, so that help is quick."""
