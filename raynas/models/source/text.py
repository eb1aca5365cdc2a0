"""A network as a plain Python file: what the kinds of networks share."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

WIDTH = 88  # of a line, as formatters have it by default
SHOWN_CLASSES = 100  # longer lists of names are no pleasure to read


@dataclass(frozen=True)
class Source:
    """A network written out.

    `blocks` are the small classes and functions it is made of. `layers` are the lines of `__init__`, `steps` those of
    `forward`, from `x`, the normalised images, to `return`. `names` maps the layers' names to those that the built network
    has for them: what stands in no name is not needed to predict.
    """

    about: tuple[str, ...]
    layers: tuple[str, ...]
    steps: tuple[str, ...]
    names: Mapping[str, str]
    blocks: tuple[str, ...] = field(default=())

    def weights(self, tensors: Mapping[str, object]) -> dict[str, object]:
        """The built network's `tensors` under the names of the layers here."""
        found = {}
        for name, there in self.names.items():
            for key, tensor in tensors.items():
                if key.startswith(f"{there}."):
                    found[f"{name}{key.removeprefix(there)}"] = tensor
        return found


def side(images: tuple[int, int, int]) -> str:
    """A comment on what a line makes: `  # 48 x 28 x 28`."""
    return f"  # {' x '.join(str(number) for number in images)}"


def call(head: str, items: Sequence[str], tail: str, indent: int, comment: str = "") -> list[str]:
    """`head`items`tail` on one line of code, or an item a line where that is too long. `indent` counts blanks."""
    line = f"{head}{', '.join(items)}{tail}"
    if indent + len(line) + len(comment) <= WIDTH:
        return [line + comment]
    return [head, *(f"    {item}," for item in items), tail + comment]


def total(name: str, terms: Sequence[str], indent: int, comment: str = "") -> list[str]:
    """`name = one + other + …` on one line, or a term a line."""
    line = f"{name} = {' + '.join(terms)}"
    if indent + len(line) + len(comment) <= WIDTH:
        return [line + comment]
    return [f"{name} = (", f"    {terms[0]}", *(f"    + {term}" for term in terms[1:]), f"){comment}"]


def class_text(
    head: str, about: Sequence[str], init: str, layers: Iterable[str], forward: str, steps: Iterable[str]
) -> str:
    """A module with `__init__` and `forward`."""
    layers = list(layers)
    made = [f"class {head}(nn.Module):", *_indented(_docstring(about), 4), ""]
    if layers:
        made += [f"    def __init__({init}):", "        super().__init__()", *_indented(layers, 8), ""]
    return "\n".join([*made, f"    def forward({forward}):", *_indented(steps, 8)])


def write(
    source: Source,
    title: str,
    input_shape: tuple[int, int, int],
    class_names: Sequence[str],
    mean: Sequence[float],
    std: Sequence[float],
    units: str,
) -> str:
    """The file. `title` says whose network it is, `units` what numbers the images are made of; `mean` and `std` are those of
    the normalisation, a channel."""
    constants = ['WEIGHTS = Path(__file__).with_name("weights.pt")', *_numbers("MEAN", mean), *_numbers("STD", std)]
    constants += _classes(class_names)
    network = class_text(
        "Network",
        [
            f"(B, {', '.join(str(number) for number in input_shape)}) -> (B, {len(class_names)}): images to logits.",
            "",
            *_filled(f"Images are float32, {units}; they are normalised here."),
        ],
        "self",
        [*(NORMALISATION.format(name, name.upper()) for name in ("mean", "std")), *source.layers],
        "self, images",
        ["x = (images - self.mean) / self.std", *source.steps],
    )
    functional = any("F." in text for text in (*source.blocks, *source.steps))
    imports = ["from pathlib import Path", "", "import torch"]
    imports += ["import torch.nn.functional as F"] if functional else []
    parts = [
        "\n".join(_docstring([title, "", *source.about, "", "The weights are in weights.pt; `load()` reads them."])),
        "\n".join([*imports, "from torch import nn", "", *constants]),
        *source.blocks,
        network,
        LOAD,
    ]
    return parts[0] + "\n\n" + "\n\n\n".join(parts[1:]) + "\n"


NORMALISATION = "self.{} = nn.Buffer(torch.tensor({}).view(-1, 1, 1), persistent=False)"
LOAD = '''\
def load(weights=WEIGHTS):
    """The trained network, ready to predict."""
    network = Network()
    network.load_state_dict(torch.load(weights, weights_only=True))
    return network.eval()'''


def _numbers(name: str, values: Sequence[float]) -> list[str]:
    """A constant with a number a channel."""
    return call(f"{name} = [", [repr(float(f"{value:.9g}")) for value in values], "]", 0)


def _classes(names: Sequence[str]) -> list[str]:
    """The names of the classes as a constant, where they are more than numbers."""
    if all(name.isdecimal() for name in names) or len(names) > SHOWN_CLASSES:
        return []
    quoted = [_quoted(name) for name in names]
    return call("CLASSES = (", quoted, ",)" if len(quoted) == 1 else ")", 0)


def _quoted(name: str) -> str:
    text = repr(name)
    return f'"{text[1:-1]}"' if text.startswith("'") and '"' not in text and "\\'" not in text else text


def _docstring(lines: Sequence[str]) -> list[str]:
    safe = [line.replace("\\", "/").replace('"""', "'''") for line in lines]
    if len(safe) == 1:
        return [f'"""{safe[0]}"""']
    return [f'"""{safe[0]}', *safe[1:], '"""']


def _filled(text: str) -> list[str]:
    """Prose in lines that fit a docstring of a class."""
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) + 5 > WIDTH:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def _indented(lines: Iterable[str], blanks: int) -> list[str]:
    return [" " * blanks + line if line else "" for line in lines]
