"""`raynas doctor --address`: every node of a cluster, seen from trials' side."""

from pathlib import Path

from raynas.cli.show import console, table
from raynas.data import load
from raynas.run.checkup import ask_nodes, findings
from raynas.run.cluster import QUIET, connected, environment
from raynas.run.folders import home as home_of
from raynas.train.memory import data_bytes


def examine_nodes(address: str | None, home: Path | None, data: str | None, data_dir: Path | None) -> int:
    """Print what is found on each node; 0 when everything is well, 1 otherwise."""
    place = home_of(home).resolve()
    wanted = None if data is None else (data, data_bytes(load(data, data_dir=data_dir)))
    with environment(QUIET), connected(address):
        nodes = ask_nodes(place)
    healthy, made = True, table("node", "what", "finding")
    for node in nodes:
        name = node.name
        for finding in findings(node, wanted, place):
            healthy &= finding.well
            style = None if finding.well else "red"
            made.add_row(name, finding.what, finding.text if finding.well else f"! {finding.text}", style=style)
            name = ""
    console.print(made)
    console.print(f"{len(nodes)} nodes, all well" if healthy else "[red]not well: see the lines with ![/red]")
    return 0 if healthy else 1
