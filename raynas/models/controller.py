"""The controllers of ENAS (Pham et al., 2018): LSTMs that make one decision after the other.

`Controller` makes any finite decisions, `MicroController` and `MacroController` those of the two published search spaces
with the published factorisation. Numbers (width 64, no bias in the LSTM, weights uniform in ±0.1) are those of the authors'
code. What is drawn is a function of the weights and of given uniform numbers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from raynas.space.macro import Macro
from raynas.space.micro_cell import INPUTS, MicroCell

SPAN = 0.1  # weights start uniform in ± this
LIKED, DISLIKED = 0.25, -0.25  # fixed bias of the normal cell's separable convolutions, and of its other operations
START = 10.0  # learnt bias of separable convolutions, at the start
SKIPS = 0.4  # the share of skips that a macro network is drawn to
Choose = Callable[[Tensor], Tensor]
"""Maps the log-probabilities of the next n decisions, (B, n, values), to what is chosen, (B, n)."""
Mask = Callable[[Tensor], Tensor]
"""Maps the choices so far, (B, k) int64, to which values of decision k are allowed, (B, values) bool, one at least."""


@dataclass(frozen=True)
class Squash:
    """What the logits go through: divided by `temperature`, then `constant` times their tanh, where these are given."""

    temperature: float | None = None
    constant: float | None = None

    def __call__(self, logits: Tensor, reduced: float = 1.0) -> Tensor:
        logits = logits if self.temperature is None else logits / self.temperature
        return logits if self.constant is None else self.constant / reduced * torch.tanh(logits)


@dataclass
class Walk:
    """Decisions as they were made, in blocks of (B, n): what was chosen, its log-probability, the entropy; `penalty` (B,)."""

    choose: Choose
    made: list[Tensor] = field(default_factory=list)
    picked: list[Tensor] = field(default_factory=list)
    entropies: list[Tensor] = field(default_factory=list)
    penalty: Tensor | None = None

    def decide(self, logits: Tensor) -> Tensor:
        """Make the next decision, (B, values) -> (B,); -inf forbids a value."""
        return self.decide_several(logits[:, None])[:, 0]

    def decide_several(self, logits: Tensor) -> Tensor:
        """Make the next n decisions, none of which waits for another: (B, n, values) -> (B, n)."""
        log_probs = torch.log_softmax(logits, dim=2)
        chosen = self.choose(log_probs)
        self.made.append(chosen)
        self.picked.append(log_probs.gather(2, chosen[:, :, None])[:, :, 0])
        self.entropies.append(-(log_probs.exp() * log_probs.clamp(min=-1e30)).sum(dim=2))
        return chosen

    def log_probs(self) -> Tensor:
        """(B, D): of every decision, given those before."""
        return torch.cat(self.picked, dim=1)

    def log_prob(self) -> Tensor:
        """(B,): the sum over decisions."""
        return self.log_probs().sum(dim=1)

    def entropy(self) -> Tensor:
        """(B,): the sum over decisions."""
        return torch.cat(self.entropies, dim=1).sum(dim=1)


class Policy(nn.Module):
    """Draws rows of `decisions` choices, and says how probable rows are. `_walk` makes the decisions of one kind."""

    decisions: int

    def __init__(self, hidden: int):
        super().__init__()
        self.start = nn.Parameter(torch.empty(1, hidden))
        self.cell = nn.LSTMCell(hidden, hidden, bias=False)

    def _walk(self, rows: int, walk: Walk) -> None:
        raise NotImplementedError

    def _initialize(self) -> None:
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -SPAN, SPAN)

    def walk(self, choices: Tensor) -> Walk:
        """The way that the choices, (B, D) int64, take."""
        blocks = _Blocks(choices)
        walk = Walk(lambda log_probs: blocks.take(log_probs.shape[1]))
        self._walk(len(choices), walk)
        return walk

    def forward(self, choices: Tensor) -> tuple[Tensor, Tensor]:
        """(B, D) int64 -> log-probability and entropy of each row, (B,) each: the sums over its decisions."""
        walk = self.walk(choices)
        return walk.log_prob(), walk.entropy()

    @torch.no_grad()
    def sample(self, uniforms: Tensor) -> Tensor:
        """(B, D) numbers from [0, 1) -> (B, D) choices, by the inverse of the cumulative distribution."""
        blocks = _Blocks(uniforms)

        def invert(log_probs: Tensor) -> Tensor:
            below = log_probs.double().exp().cumsum(dim=2)
            drawn = (below < blocks.take(log_probs.shape[1])[:, :, None] * below[:, :, -1:]).sum(dim=2)
            return _allowed(drawn, log_probs)

        walk = Walk(invert)
        self._walk(len(uniforms), walk)
        return torch.cat(walk.made, dim=1)

    def log_prob(self, choices: Tensor) -> Tensor:
        """(B, D) -> (B,)"""
        return self(choices)[0]

    def entropy(self, choices: Tensor) -> Tensor:
        """(B, D) -> (B,): of the decisions on the way that these choices took."""
        return self(choices)[1]


class _Blocks:
    """The columns of a matrix, (B, D), some at a time."""

    def __init__(self, matrix: Tensor):
        self.matrix, self.taken = matrix, 0

    def take(self, count: int) -> Tensor:
        self.taken += count
        return self.matrix[:, self.taken - count : self.taken]


def _allowed(drawn: Tensor, log_probs: Tensor) -> Tensor:
    """A draw exactly on a border may fall on a forbidden value: the next allowed one, or the last there is."""
    values = log_probs.shape[2]
    places = torch.arange(values, device=log_probs.device)
    allowed = torch.isfinite(log_probs)
    after = torch.where(allowed & (places >= drawn[:, :, None]), places, values).amin(dim=2)
    last = torch.where(allowed, places, -1).amax(dim=2)
    return torch.where(after < values, after, last)


class Controller(Policy):
    """Any decisions: `counts` are their numbers of values. Each is a softmax over the LSTM's output, and the embedding of
    what was chosen is the next input; `mask` may forbid values given the choices before."""

    def __init__(
        self, counts: Sequence[int], *, hidden: int = 64, squash: Squash | None = None, mask: Mask | None = None
    ):
        super().__init__(hidden)
        self.decisions, self.squash, self.mask = len(counts), squash or Squash(), mask
        self.heads = nn.ModuleList(nn.Linear(hidden, count, bias=False) for count in counts)
        self.embeddings = nn.ModuleList(nn.Embedding(count, hidden) for count in counts[:-1])
        self._initialize()

    def _walk(self, rows: int, walk: Walk) -> None:
        given, state = self.start.expand(rows, -1), None
        for number, head in enumerate(self.heads):
            state = self.cell(given, state)
            logits = self.squash(head(state[0]))
            if self.mask is not None:
                so_far = torch.cat(walk.made, dim=1) if walk.made else torch.empty(rows, 0, dtype=torch.int64)
                logits = logits.masked_fill(~self.mask(so_far.to(logits.device)), -torch.inf)
            chosen = walk.decide(logits)
            if number < len(self.embeddings):
                given = self.embeddings[number](chosen)


class Attention(nn.Module):
    """Logits of earlier nodes: v · tanh(W1 anchor + W2 query) (Bahdanau et al., 2015)."""

    def __init__(self, hidden: int):
        super().__init__()
        self.of_anchors = nn.Linear(hidden, hidden, bias=False)
        self.of_query = nn.Linear(hidden, hidden, bias=False)
        self.weigh = nn.Linear(hidden, 1, bias=False)

    def forward(self, keys: list[Tensor], query: Tensor) -> Tensor:
        """`keys` n times (B, H), what `of_anchors` makes of anchors; `query` (B, H) -> (B, n)."""
        asked = self.of_query(query)[:, None]
        return self.weigh(torch.tanh(torch.stack(keys, dim=1) + asked))[:, :, 0]


class MicroController(Policy):
    """ENAS's controller of two-input cells. The decisions of a node are its two sources, by attention over the nodes before,
    then its two operations, by a softmax with a bias towards separable convolutions. Further cells go on from the
    state that the first one leaves; its fixed bias is the first one's alone. With five nodes and operations 41,733
    parameters and, at the start, an entropy of 57.187 over two cells.

    The learnt bias starts so deep in the tanh that its gradient is nought: by the published numbers no operation but the
    separable convolutions can be more likely than 0.20 (normal cell) or 0.27. `prior` False starts without either bias."""

    def __init__(
        self,
        cells: Sequence[MicroCell],
        *,
        hidden: int = 64,
        squash: Squash = Squash(constant=1.10),
        op_tanh_reduce: float = 2.5,
        prior: bool = True,
    ):
        super().__init__(hidden)
        operations = cells[0].operations
        self.cells, self.squash, self.op_tanh_reduce = [cell.nodes for cell in cells], squash, op_tanh_reduce
        self.decisions = 4 * sum(self.cells)
        self.embedding = nn.Embedding(len(operations), hidden)
        self.head = nn.Linear(hidden, len(operations), bias=False)
        self.attention = Attention(hidden)
        self._initialize()
        liked = torch.tensor([name.startswith("sep_conv") for name in operations])
        self.bias = nn.Parameter(torch.where(liked, START if prior else 0.0, 0.0))
        self.first_bias: Tensor
        self.register_buffer("first_bias", torch.where(liked, LIKED, DISLIKED) * prior, persistent=False)

    def _walk(self, rows: int, walk: Walk) -> None:
        state: tuple[Tensor, Tensor] | None = None
        for number, nodes in enumerate(self.cells):
            state = self._walk_cell(rows, walk, state, nodes, self.first_bias if number == 0 else None)

    def _walk_cell(
        self, rows: int, walk: Walk, state: tuple[Tensor, Tensor] | None, nodes: int, bias: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        begin = self.start.expand(rows, -1)
        anchors, keys = [], []
        for _ in range(INPUTS):
            state = self.cell(begin, state)
            anchors.append(torch.zeros_like(state[0]))
            keys.append(self.attention.of_anchors(state[0]))
        given = begin
        for _ in range(nodes):
            for _ in range(2):
                state = self.cell(given, state)
                source = walk.decide(self.squash(self.attention(keys, state[0])))
                given = torch.stack(anchors, dim=1)[torch.arange(rows, device=source.device), source]
            for _ in range(2):
                state = self.cell(given, state)
                logits = self.squash(self.head(state[0]) + self.bias, self.op_tanh_reduce)
                given = self.embedding(walk.decide(logits if bias is None else logits + bias))
            state = self.cell(given, state)
            anchors.append(state[0])
            keys.append(self.attention.of_anchors(state[0]))
            given = begin
        assert state is not None
        return state


class MacroController(Policy):
    """ENAS's controller of macro networks: a layer's operation by a softmax, then for every earlier layer skip or not, by
    attention. `Walk.penalty` is the divergence of the skips' probabilities from the share of 0.4 that is wanted,
    in nats, a mean over layers."""

    def __init__(self, network: Macro, *, hidden: int = 64, squash: Squash = Squash(constant=1.5)):
        super().__init__(hidden)
        self.layers, self.squash = network.layers, squash
        self.decisions = network.layers * (network.layers + 1) // 2
        self.embedding = nn.Embedding(len(network.operations), hidden)
        self.head = nn.Linear(hidden, len(network.operations), bias=False)
        self.attention = Attention(hidden)
        self._initialize()

    def _walk(self, rows: int, walk: Walk) -> None:
        begin = given = self.start.expand(rows, -1)
        state = None
        anchors: list[Tensor] = []
        keys: list[Tensor] = []
        wanted = torch.tensor([1 - SKIPS, SKIPS], device=begin.device)
        penalty = torch.zeros(rows, device=begin.device)
        for layer in range(self.layers):
            state = self.cell(given, state)
            state = self.cell(self.embedding(walk.decide(self.squash(self.head(state[0])))), state)
            given = begin
            if layer > 0:
                query = self.attention(keys, state[0])
                logits = self.squash(torch.stack([-query, query], dim=2))
                skips = walk.decide_several(logits).float()
                given = (skips[:, :, None] * torch.stack(anchors, dim=1)).sum(dim=1) / (1 + skips.sum(dim=1))[:, None]
                likely = torch.softmax(
                    logits, dim=2
                )  # the authors' code takes sigmoid(logits), and draws by softmax: 31 %
                penalty = penalty + (likely * torch.log(likely / wanted)).sum(dim=(1, 2))
            anchors.append(state[0])
            keys.append(self.attention.of_anchors(state[0]))
        walk.penalty = penalty / max(self.layers - 1, 1)
