"""`python -m raynas`."""

from raynas.cli.main import main

main()
