"""Small modules that written out networks of both of ENAS's searches are made of."""

Shape = tuple[int, int, int]

PROJECT = '''\
class Project(nn.Sequential):
    """ReLU, 1x1 convolution, batch normalisation."""

    def __init__(self, entering, leaving):
        super().__init__(
            nn.ReLU(),
            nn.Conv2d(entering, leaving, 1, bias=False),
            nn.BatchNorm2d(leaving),
        )'''

HALVE = '''\
class Halve(nn.Module):
    """1x1 convolutions of every other pixel and of those between."""

    def __init__(self, entering, leaving):
        super().__init__()
        half = leaving // 2
        self.even = nn.Conv2d(entering, half, 1, stride=2, bias=False)
        self.odd = nn.Conv2d(entering, leaving - half, 1, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(leaving)

    def forward(self, x):
        between = F.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]
        return self.norm(torch.cat([self.even(x), self.odd(between)], dim=1))'''

SEP_CONV = '''\
class SepConv(nn.Sequential):
    """Twice: ReLU, depthwise and 1x1 convolution, batch normalisation."""

    def __init__(self, channels, kernel, stride=1):
        layers = []
        for step in (stride, 1):
            layers += [
                nn.ReLU(),
                nn.Conv2d(
                    channels,
                    channels,
                    kernel,
                    step,
                    kernel // 2,
                    groups=channels,
                    bias=False,
                ),
                nn.Conv2d(channels, channels, 1, bias=False),
                nn.BatchNorm2d(channels),
            ]
        super().__init__(*layers)'''

AVG_POOL = """\
def avg_pool(x, stride=1):
    return F.avg_pool2d(x, 3, stride, padding=1, count_include_pad=False)"""

MAX_POOL = """\
def max_pool(x, stride=1):
    return F.max_pool2d(x, 3, stride, padding=1)"""


def halved(sides: tuple[int, ...]) -> tuple[int, ...]:
    """Height and width after a step of two; what is odd is rounded up."""
    return tuple((pixels + 1) // 2 for pixels in sides)


def stem_lines(entering: int, leaving: int, stride: int) -> list[str]:
    options = ", stride=2" * (stride == 2)
    return [
        "self.stem = nn.Sequential(",
        f"    nn.Conv2d({entering}, {leaving}, 3{options}, padding=1, bias=False),",
        f"    nn.BatchNorm2d({leaving}),",
        ")",
    ]
