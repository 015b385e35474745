"""Write the filed results of the shipped studies, in some minutes: `python results/reference/make_reference.py [NAME ...]`."""

import sys
from pathlib import Path

from simulator.commands.reference_studies import REFERENCE, write_reference

if __name__ == "__main__":
    for name in sys.argv[1:] or REFERENCE:
        write_reference(name, Path(__file__).with_name(f"{name}.csv"))
        print(name, flush=True)
