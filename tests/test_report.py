"""The report: what stands in it, that nothing in it can run or reach out, and how it looks to a real browser."""

import json
import re
import shutil
import subprocess
from html import unescape
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
from ray import tune
from test_ledger import limited, open_ledger, run_all
from test_plots import written

from raynas.results.report import page, write_report
from raynas.results.report.page import number
from raynas.results.results import Results

EVIL = '</script><script>document.title="run"</script><img src=x onerror="document.title=\'run\'">&amp;'
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-sync",
    "--disable-component-update", "--no-first-run", "--enable-logging=stderr", "--v=0", "--window-size=1200,900",
    "--virtual-time-budget=20000", "--dump-dom",
)  # fmt: skip
VOID = ("meta", "img", "input", "br", "link", "hr")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A finished genetic search whose one parameter, node, error and metric are markup."""
    folder = tmp_path_factory.mktemp("report")
    space = {"x": tune.uniform(0.0, 1.0), "n": tune.randint(0, 50), "text": tune.choice([EVIL, "plain"])}
    ledger = open_ledger(folder, space=space, search="genetic", trials=24)
    while not isinstance(trial := ledger.next(), str):
        for epoch in (1, 2):
            ledger.hear(
                trial.number, 1, epoch, {"score": trial.config["x"], "note": EVIL}, trial.config["x"], 0.5, EVIL
            )
        fate = "error" if trial.number == 5 else None if trial.number % 4 == 3 else "done"
        ledger.end(trial.number, 1, fate, f"Traceback\nValueError: {EVIL}" if fate == "error" else None)
    ledger.close()
    return Results(folder / "store.db")


@pytest.fixture(scope="module")
def text(results):
    return page(results)


class Elements(HTMLParser):
    """Tags with their attributes, and the text of each script and data element."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))


def data_of(text):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])


def test_the_page_is_well_formed_and_whole(text, results):
    found = Elements(text)
    assert found.open == []
    headings = [data for tag, data in found.texts if tag == "h2"]
    assert headings == ["Verdict", "Best networks", "Pictures", "All trials", "Provenance"]
    assert "Not verified yet" in text
    table = {column["name"]: column for column in data_of(text)["table"]}
    frame = results.trials.set_index("number")
    assert len(table["number"]["values"]) == len(frame)
    for trial, x, fitness in zip(*(table[name]["values"] for name in ("number", "x", "fitness")), strict=True):
        assert x == pytest.approx(frame.at[trial, "x"], rel=1e-9)
        assert fitness is None or fitness == pytest.approx(frame.at[trial, "fitness"], rel=1e-9)
    best = int(results.best()["number"].iloc[0])
    assert f"Trial {best} " in text
    said = unescape("".join(data for _, data in found.texts))
    for part in ("identity", "uniform", "1 failed (error)", "ValueError"):
        assert part in said


def test_nothing_in_it_runs_or_reaches_out(text):
    found = Elements(text)
    scripts = [attributes for tag, attributes in found.tags if tag == "script"]
    assert len(scripts) == 4  # the data, plotly, the table, the pictures
    for tag, attributes in found.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, attributes)
    assert "<" not in re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1]
    policy = next(attributes["content"] for tag, attributes in found.tags if "http-equiv" in attributes)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert not re.search(r"<link|@import|url\(", re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL))


def test_pictures_are_there_or_said_to_lack(text, results):
    from raynas.results.plots import PLOTS
    from raynas.results.report.pictures import ORDER, pictures

    found, lacking = pictures(results)
    assert {each.name for each in found} | {why.split(":")[0].replace(" ", "_") for why in lacking} == set(ORDER) & set(
        PLOTS
    )
    assert {each.name for each in found} >= {"generations", "lineage"}
    assert set(data_of(text)["pictures"]) == {each.name for each in found}
    for each in found:
        assert f'data-picture="{each.name}"' in text


def test_a_verdict_stands_first(results, monkeypatch):
    networks = [
        SimpleNamespace(label="the <small> one", params=1234, tests=(0.7, 0.8), mean=0.75),
        SimpleNamespace(label="random network 1", params=None, tests=(0.6,), mean=0.6),
        SimpleNamespace(label="one that failed", params=7, tests=(), mean=float("nan")),
    ]

    class Verdict:
        recommended, tied = networks[0], networks[:1]

        def __init__(self):
            self.networks = networks

        def interval(self, network):
            return network.mean, 0.05 if len(network.tests) > 1 else float("nan")

        def sentences(self):
            return ["Recommended: the <small> one.", "It is tied."]

    monkeypatch.setattr(Results, "verdict", lambda self: Verdict(), raising=False)
    made = page(results)
    assert "Recommended: the &lt;small&gt; one." in made
    assert made.index("It is tied.") < made.index("Best networks</h2>")
    assert "Not verified yet" not in made
    shown = re.findall(r'<td class="number[^>]*>(.*?)</td>', made.split("networks", 2)[-1].split("</table>")[0])
    assert shown == ["1,234", "0.7500 ± 0.0500", "2", "–", "0.6000", "1"]
    assert "the &lt;small&gt; one (recommended)" in made
    Elements(made)


def test_a_search_without_trials_has_a_report(tmp_path):
    open_ledger(tmp_path, trials=3).close()
    write_report(Results(tmp_path / "store.db"), tmp_path / "report.html")
    assert "No trial has a fitness yet" in (tmp_path / "report.html").read_text()
    assert not list(tmp_path.glob(".*"))  # nothing half-written


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (23636, "23,636"),
        (0.88124, "0.8812"),
        (None, "–"),
        (float("nan"), "–"),
        (True, "True"),
        ("a", "a"),
        (3.0e-5, "3e-05"),
    ],
)
def test_numbers_are_as_a_person_writes_them(value, said):
    assert number(value) == said


# -- in a real browser -------------------------------------------------------------------------------------------------


def browse(path, fragment="", *flags):
    """The page's DOM after its scripts ran, and the errors on the browser's console: also whatever the page would have asked
    the network for and any script that is not its own, which its policy forbids."""
    profile = f"--user-data-dir={path.parent / 'profile'}"
    command = [CHROMIUM, *FLAGS, *flags, profile, f"file://{path}{fragment}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    return done.stdout, [
        line
        for line in done.stderr.splitlines()
        if "CONSOLE" in line and re.search("Content Security Policy|Error|Uncaught", line)
    ]


def rows(dom):
    """The rows of the table in sight: lists of cells."""
    body = re.search(r'<div id="table".*?<tbody>(.*?)</tbody>', dom, re.DOTALL)[1]
    lines = re.findall(r"<tr(?: class=\"odd\")?>(.*?)</tr>", body, re.DOTALL)
    return [
        [unescape(re.sub("<.*?>", "", cell)) for cell in re.findall(r"<td.*?>(.*?)</td>", line, re.DOTALL)]
        for line in lines
    ]


def heads(dom):
    return re.findall(r"<th scope=\"col\".*?<button.*?>(.*?)</button>", dom)


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt install chromium")
def test_a_browser_shows_it(results, tmp_path):
    write_report(results, tmp_path / "report.html")
    dom, errors = browse(tmp_path / "report.html", "#sort=n&filter=state%20%3D%20done%20n%20%3E%202")
    assert errors == []
    assert "<title>test · raynas report</title>" in dom  # no text of the data ran
    assert re.search(r'<html lang="en" data-drawn="yes"', dom)
    assert dom.count('data-drawn="yes"') == 1 + len(data_of((tmp_path / "report.html").read_text())["pictures"])
    assert 'class="chart failed"' not in dom
    names, shown = heads(dom), rows(dom)
    wanted = results.where("state = 'done' and n > 2").sort_values("n")
    assert [int(line[names.index("n")]) for line in shown] == wanted["n"].tolist()
    assert 'aria-sort="ascending"' in dom
    assert f"{len(wanted)} of 24 trials" in dom
    assert any(EVIL in cell for line in shown for cell in line)  # as text


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt install chromium")
def test_a_narrow_page_has_narrow_pictures(tmp_path):
    """No picture is wider than the page, and of parallel axes there are those that have room; the page says what it lacks."""
    write_report(written(tmp_path, ["done"] * 20), tmp_path / "report.html")
    data = data_of((tmp_path / "report.html").read_text())["pictures"]["parallel"]
    axes = len(data["data"][0]["dimensions"])
    assert sorted(data["layout"]["meta"]["order"]) == list(range(len(data["layout"]["meta"]["order"])))
    widths, drawn = {}, {}
    for wide in (500, 1200):
        dom, errors = browse(tmp_path / "report.html", "", f"--window-size={wide},900")
        assert errors == []
        widths[wide] = {int(float(each)) for each in re.findall(r'<svg class="main-svg"[^>]*? width="([\d.]+)"', dom)}
        drawn[wide] = dom.count('class="y-axis"') or dom.count('class="axis-heading"')
        hidden = re.search(r"(\d+) more have no room", dom)
        assert (int(hidden[1]) if hidden else 0) == axes - drawn[wide]
    assert max(widths[500]) < 500 < min(widths[1200])
    assert 3 <= drawn[500] < drawn[1200] == axes


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt install chromium")
def test_ten_thousand_trials_draw_only_what_is_in_sight(tmp_path):
    """The table of many trials, sorted downwards: the first rows are the highest, and few rows are elements."""
    ledger = limited(tmp_path, search="random", options={}, trials=3)
    run_all(ledger)
    ledger.close()
    write_report(Results(tmp_path / "store.db"), tmp_path / "report.html")
    text, many = (tmp_path / "report.html").read_text(), 10_000
    data = data_of(text)
    for column in data["table"]:
        column["values"] = [column["values"][row % 3] for row in range(many)]
        if column["name"] == "fitness":
            column["values"] = [None if row % 7 == 0 else (row * 37 % many) / many for row in range(many)]
    packed = json.dumps(data).replace("<", "\\u003c")
    whole = re.sub(
        r'(id="data">).*?(</script>)', lambda found: found[1] + packed + found[2], text, count=1, flags=re.DOTALL
    )
    (tmp_path / "report.html").write_text(whole)
    dom, errors = browse(tmp_path / "report.html", "#sort=-fitness&filter=fitnes%20%3E%200.5")
    assert errors == []
    shown, place = rows(dom), heads(dom).index("fitness")
    assert 10 < len(shown) < 100
    expected = sorted(
        (value for value in next(c for c in data["table"] if c["name"] == "fitness")["values"] if value is not None),
        reverse=True,
    )
    assert [float(line[place]) for line in shown] == pytest.approx(expected[: len(shown)])
    assert "there is no column 'fitnes'" in dom
