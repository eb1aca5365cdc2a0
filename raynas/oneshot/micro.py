"""The supernet of two-input cells (ENAS; Pham et al., 2018, sec. 2.4): every child's weights in one network.

Every cell holds the operations of every (node, which of its two inputs, source), and the projection of every node; a child
is the path that its two cells name, and only that path is run. Batch normalisation uses the batch's own statistics.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raynas.models.micro import OPERATIONS, FactorizedReduction, Side, adapt, add_nodes, start_like_he, stem
from raynas.oneshot.statistics import forget_statistics
from raynas.space.micro_cell import INPUTS, MicroCell, Pairs, loose_ends, reducing, show_pairs
from raynas.tables import look_up


class SharedCell(nn.Module):
    """One cell with all that any two-input cell may use."""

    def __init__(self, domain: MicroCell, before: tuple[Side, Side], channels: int):
        super().__init__()
        entering = Side(channels, before[1].halvings)
        self.inputs = nn.ModuleList([adapt(before[0], entering), adapt(before[1], entering)])
        self.candidates = nn.ModuleDict(
            {
                self.key(node, which, source, name): look_up("operation", name, OPERATIONS)(channels, 1)
                for node in range(domain.nodes)
                for which in range(2)
                for source in range(node + INPUTS)
                for name in domain.operations
            }
        )
        self.project = nn.Parameter(torch.empty(domain.nodes + INPUTS, channels, channels))  # node, out, in
        nn.init.normal_(self.project, std=(2 / channels) ** 0.5)
        self.norm = nn.BatchNorm2d(channels)
        self.leaving = entering

    @staticmethod
    def key(node: int, which: int, source: int, name: str) -> str:
        return f"{node + INPUTS}{'ab'[which]}{source}_{name}"

    def projection(self, pairs: Pairs) -> Tensor:
        """(out, in, 1, 1): of the loose ends alone."""
        chosen = self.project[loose_ends(pairs)]
        return chosen.transpose(0, 1).flatten(1)[:, :, None, None]

    def forward(self, older: Tensor, last: Tensor, pairs: Pairs) -> Tensor:
        states = [adapted(given) for adapted, given in zip(self.inputs, (older, last), strict=True)]

        def term(node: int, which: int, given: Tensor) -> Tensor:
            name, source = pairs[node][which]
            return self.candidates[self.key(node, which, source, name)](given)

        add_nodes(states, pairs, term)
        loose = torch.relu(torch.cat([states[node] for node in loose_ends(pairs)], dim=1))
        return self.norm(F.conv2d(loose, self.projection(pairs)))


class MicroSupernet(nn.Module):
    """(B, C, H, W) -> (B, classes), for the child that (normal, reduction) name."""

    def __init__(
        self,
        normal: MicroCell,
        reduction: MicroCell,
        input_shape: tuple[int, int, int],
        classes: int,
        *,
        layers: int = 6,
        channels: int = 20,
        reductions: int = 2,
        stem_stride: int = 1,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.shape = {"layers": layers, "channels": channels, "reductions": reductions, "stem_stride": stem_stride}
        self.places = reducing(layers, reductions)
        self.stem = stem(input_shape[0], 3 * channels, stem_stride)
        older = last = Side(3 * channels, stem_stride - 1)
        self.cells, self.smaller = nn.ModuleList(), nn.ModuleDict()
        for number in range(layers + 2):
            if number in self.places:
                channels *= 2
                self.smaller[str(number)] = FactorizedReduction(last.channels, channels)
                older, last = last, Side(channels, last.halvings + 1)
            cell = SharedCell(reduction if number in self.places else normal, (older, last), channels)
            self.cells.append(cell)
            older, last = last, cell.leaving
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(last.channels, classes, bias=False)
        start_like_he(self)
        forget_statistics(self)

    def forward(self, images: Tensor, child: tuple[Pairs, Pairs]) -> Tensor:
        older = last = self.stem(images)
        for number, cell in enumerate(self.cells):
            if str(number) in self.smaller:
                older, last = last, self.smaller[str(number)](last)
            older, last = last, cell(older, last, child[number in self.places])
        return self.head(self.dropout(torch.relu(last).mean(dim=(2, 3))))

    def architecture(self, child: tuple[Pairs, Pairs]) -> dict[str, Any]:
        """The parameters of the space that make the child."""
        return {"normal": show_pairs(child[0]), "reduction": show_pairs(child[1])}

    def config(self, child: tuple[Pairs, Pairs]) -> dict[str, Any]:
        """The config that builds the child alone, in the form that takes its weights."""
        return {"model": "enas_micro", **self.architecture(child), **self.shape, "form": "shared"}

    def weights(self, child: tuple[Pairs, Pairs]) -> dict[str, Tensor]:
        """The child's weights, by the names of the network that `config` builds (without statistics of normalisation)."""
        mine = dict(self.named_parameters())
        found: dict[str, Tensor] = {name: value for name, value in mine.items() if not name.startswith("cells.")}
        for number, cell in enumerate(self.cells):
            assert isinstance(cell, SharedCell)
            pairs, here = child[number in self.places], f"cells.{number}"
            for which, part in enumerate(cell.inputs):
                inside = f"{here}.inputs.{which}" + (".0" if which else "")  # the second input is a sequence there
                found |= {f"{inside}.{name}": value for name, value in part.named_parameters()}
            for node, pair in enumerate(pairs):
                for which, (name, source) in enumerate(pair):
                    chosen = cell.candidates[cell.key(node, which, source, name)]
                    found |= {f"{here}.nodes.{node}.{which}.{key}": value for key, value in chosen.named_parameters()}
            found[f"{here}.project.1.weight"] = cell.projection(pairs)
            found |= {f"{here}.project.2.{name}": value for name, value in cell.norm.named_parameters()}
        return found
