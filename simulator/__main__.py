"""`python -m simulator`."""

from simulator.commands.cli import main

main()
