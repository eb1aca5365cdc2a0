"""The supernet of macro networks (ENAS; Pham et al., 2018, sec. 2.3): all operations of every layer, and for every layer a
reduction at every place. A child is the path that its layers name, and only that path is run."""

from typing import Any

from torch import Tensor, nn

from raynas.models.macro import OPERATIONS, run_layers, used_after
from raynas.models.micro import FactorizedReduction, start_like_he, stem
from raynas.oneshot.statistics import forget_statistics
from raynas.space.macro import Layers, Macro, places_of, show_layers
from raynas.tables import look_up


class MacroSupernet(nn.Module):
    """(B, C, H, W) -> (B, classes), for the child that the layers name."""

    def __init__(
        self,
        domain: Macro,
        input_shape: tuple[int, int, int],
        classes: int,
        *,
        channels: int = 36,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.shape = {"channels": channels}
        self.stem = stem(input_shape[0], channels, 1)
        self.candidates = nn.ModuleList(
            nn.ModuleDict(
                {name: look_up("operation", name, OPERATIONS)(channels, channels) for name in domain.operations}
            )
            for _ in range(domain.layers)
        )
        self.joins = nn.ModuleList(
            nn.BatchNorm2d(channels) if number else nn.Identity() for number in range(domain.layers)
        )
        self.smaller = nn.ModuleDict(
            {
                f"{place}_{layer}": FactorizedReduction(channels, channels)
                for place in places_of(domain.layers)
                for layer in range(1, place + 1)
            }
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels, classes, bias=False)
        start_like_he(self)
        forget_statistics(self)

    def forward(self, images: Tensor, child: Layers) -> Tensor:
        last = run_layers(
            self.stem(images),
            child,
            lambda layer, given: self.candidates[layer - 1][child[layer - 1][0]](given),  # type: ignore[index]
            lambda layer, terms: self.joins[layer - 1](sum(terms[1:], terms[0])),
            lambda place, layer, given: self.smaller[f"{place}_{layer}"](given),
        )
        return self.head(self.dropout(last.mean(dim=(2, 3))))

    def architecture(self, child: Layers) -> dict[str, Any]:
        """The parameters of the space that make the child."""
        return {"architecture": show_layers(child)}

    def config(self, child: Layers) -> dict[str, Any]:
        """The config that builds the child alone, in the form that takes its weights."""
        return {"model": "enas_macro", **self.architecture(child), **self.shape, "form": "shared"}

    def weights(self, child: Layers) -> dict[str, Tensor]:
        """The child's weights, by the names of the network that `config` builds (without statistics of normalisation). What
        the child does not read is left out."""
        used = {f"{place}_{layer}" for place in places_of(len(child)) for layer in used_after(child, place)}
        found: dict[str, Tensor] = {}
        for name, value in self.named_parameters():
            part, _, rest = name.partition(".")
            if part == "candidates":
                layer, operation, inside = rest.split(".", 2)
                if child[int(layer)][0] == operation:
                    found[f"operations.{layer}.{inside}"] = value
            elif part != "smaller" or rest.partition(".")[0] in used:
                found[name] = value
        return found
