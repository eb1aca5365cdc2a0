"""Drawings: any network raynas knows as well-formed SVG, everything in it named, nothing over anything else."""

import re
import xml.etree.ElementTree as ElementTree
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raynas.models import MODELS
from raynas.models import genome as genome_model
from raynas.models import simple_cnn as simple_cnn_model
from raynas.results.drawing import DRAWINGS, FOUND, draw
from raynas.results.drawing.chains import DENSE, FILTERS
from raynas.results.drawing.sheet import spoken
from raynas.rng import stream
from raynas.space import cell, genome, kinds, macro, micro_cell, names, read
from raynas.tables import InputError
from raynas.train import enas

SVG = "{http://www.w3.org/2000/svg}"
SPACES = {
    "genome": lambda size: {"architecture": genome.Genome(layers=[4, 4 + size], filters=[1, 2048], kernels=[1, 4, 11])},
    "simple_cnn": None,
    "nas_bench_201": lambda size: {"architecture": cell.Cell(nodes=2 + size % 11)},
    "enas_micro": lambda size: {name: micro_cell.MicroCell(nodes=1 + size % 12) for name in ("normal", "reduction")},
    "enas_macro": lambda size: {"architecture": macro.Macro(layers=1 + size)},
}


@st.composite
def networks(draw_):
    """A config of any model, of any size."""
    name = draw_(st.sampled_from(sorted(SPACES)))
    rng = stream(draw_(st.integers(0, 10**6)), 0)
    if name == "simple_cnn":
        chosen = [st.integers(0, 9), st.integers(1, 4096), st.sampled_from([0.0, 0.5])]
        return {"model": name, **dict(zip(DRAWINGS[name].needs, map(draw_, chosen), strict=True))}
    domains = SPACES[name](draw_(st.integers(0, 14)))
    more = draw_(st.sampled_from([{}, {"channels": 8}, {"layers": 6, "reductions": 3}])) if name == "enas_micro" else {}
    return {"model": name, **{key: kinds.draw(domain, rng) for key, domain in domains.items()}, **more}


def boxes(root):
    found = []
    for rect in root.iter(f"{SVG}rect"):
        if rect.get("class") == "box":
            x, y, width, height = (float(rect.get(name)) for name in ("x", "y", "width", "height"))
            found.append((x, y, x + width, y + height))
    return found


def texts(root):
    return [element.text or "" for element in root.iter(f"{SVG}text")]


def wanted(config):
    """Every operation of a config, as it is to be read in its drawing, in any order."""
    name = config["model"]
    if name == "genome":
        *body, end = genome.parse(config["architecture"])
        return [word for layer in body for word in (f"conv {layer.kernel}×{layer.kernel}", layer.activation)] + [
            end.activation
        ]
    if name == "simple_cnn":
        return ["conv 3×3", "max pool"] * config["conv_layers"] + ["dropout"] * (config["dropout"] > 0)
    if name == "nas_bench_201":
        nodes = cell.parse(config["architecture"])
        return [spoken(edge) for node in nodes for edge in node if edge != "none"]
    if name == "enas_micro":
        pairs = [pair for key in ("normal", "reduction") for pair in micro_cell.parse_pairs(config[key])]
        return [spoken(operation) for pair in pairs for operation, _ in pair]
    return [
        word for operation, _ in macro.parse_layers(config["architecture"]) for word in spoken(operation).split(" ")
    ]


@settings(max_examples=60, deadline=None)
@given(networks())
def test_every_network_is_drawn_whole_and_nothing_overlaps(config):
    drawn = draw(config)
    assert drawn == draw(dict(config))
    root = ElementTree.fromstring(drawn)
    said = texts(root)
    for word in set(wanted(config)):
        assert said.count(word) >= wanted(config).count(word), f"{word} is drawn too seldom"
    found = boxes(root)
    for one, other in combinations(found, 2):
        apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
        assert apart, f"{one} lies over {other}"
    left, top, width, height = map(float, root.get("viewBox").split())
    for box in found:
        assert left <= box[0] <= box[2] <= left + width
        assert top + 20 <= box[1] <= box[3] <= top + height  # below the title


@settings(max_examples=60, deadline=None)
@given(networks())
def test_labels_fit_into_their_boxes(config):
    root = ElementTree.fromstring(draw(config))
    found = boxes(root)
    for element in root.iter(f"{SVG}text"):
        x, y, text = float(element.get("x")), float(element.get("y")), element.text or ""
        for left, top, right, bottom in found:
            if left < x < right and top < y < bottom and element.get("text-anchor") == "middle":
                wide = float(element.get("font-size")) * len(text) * (0.66 if element.get("font-weight") else 0.55)
                assert wide <= min(x - left, right - x) * 2 + 2, f"'{text}' does not fit"


@pytest.mark.parametrize("name", names())
def test_every_space_that_comes_with_raynas_is_drawn_by_name(name):
    config = read(name).sample(stream(0, 0))
    assert f"<title>{DRAWINGS[config['model']].title}</title>" in draw(config)


def test_every_model_has_a_drawing_and_needs_the_same():
    assert {name: model.needs for name, model in MODELS.items()} == {
        name: drawing.needs for name, drawing in DRAWINGS.items()
    }
    assert (DENSE, FILTERS) == (genome_model.DENSE, simple_cnn_model.FILTERS)
    assert enas.FOUND == FOUND


def test_skips_edges_and_loose_ends_are_all_there():
    drawn = draw({"model": "enas_macro", "architecture": "conv_3x3+conv_5x5~1+max_pool_3x3~1~2"})
    assert "3 skips" in drawn
    assert drawn.count("<polygon") == 4 + 3  # heads: the chain of stem, three layers and the end, and the skips
    cell_ = "|nor_conv_3x3~0|+|none~0|skip_connect~1|"
    drawn = draw({"model": "nas_bench_201", "architecture": cell_})
    assert drawn.count("stroke-dasharray") == 1
    pair = "|sep_conv_3x3~0|skip_connect~0|+|sep_conv_3x3~0|skip_connect~0|"
    one = draw({"model": "enas_micro", "normal": pair, "reduction": pair})
    joined = draw(
        {"model": "enas_micro", "normal": pair.replace("+|sep_conv_3x3~0", "+|sep_conv_3x3~2"), "reduction": pair}
    )
    assert one.count("<polygon") == joined.count("<polygon") + 1  # node 2 is no loose end any more


def test_halvings_make_lower_boxes():
    root = ElementTree.fromstring(draw({"architecture": "NC 8 3 relu;RC 8 3 relu;RC 8 3 relu;FL relu"}))
    heights = [round(bottom - top, 1) for _, top, _, bottom in boxes(root)]
    assert heights[0] == heights[1] > heights[2] > heights[3] == heights[-1]


def test_unknown_models_are_drawn_as_their_parameters_and_text_is_escaped():
    for config in ({"model": "package.module:net", "<w>": 'a "&" b' * 30}, {"x": 0.25, "architecture": "mine"}, {}):
        root = ElementTree.fromstring(draw(config, title="<b> & co"))
        assert root.find(f"{SVG}title").text == root.get("aria-label") == "<b> & co"
        assert {name for name in config if name != "model"} <= set(texts(root))
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", draw(config))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model": "genome", "architecture": "NC 8 3 rely;FL relu"}, "Did you mean 'relu'"),
        ({"model": "nas_bench_201", "architecture": "|conv~1|"}, "must read node 0"),
        ({"model": "simple_cnn", "conv_layers": "many", "hidden": 1, "dropout": 0}, "cannot draw the small CNN"),
    ],
)
def test_an_architecture_that_does_not_read_says_so(config, said):
    with pytest.raises(InputError, match=said):
        draw(config)


def test_no_line_leaves_its_sheet():
    """Also the dotted arcs of `none`, where nothing else goes as high."""
    drawn = draw(
        {"model": "nas_bench_201", "architecture": "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|"}
    )
    root = ElementTree.fromstring(drawn)
    top = float(root.get("viewBox").split()[1])
    for path in root.iter(f"{SVG}path"):
        start, curve = path.get("d")[1:].split("C") if "C" in path.get("d") else (path.get("d"), "")
        if curve:
            reached = 0.25 * float(start.split()[1]) + 0.75 * float(curve.split()[1])
            assert reached > top + 34  # below the title
