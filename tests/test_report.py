import itertools
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from records import LABELS, card, file, random_record, record
from toy import save_toy, toy_card

import genrescope
from models.errors import ConfigError
from models.spec import FileDecision
from train.coverage import Coverage
from train.figures import DARK, LIGHT, draw_confusion, draw_coverage, draw_curves, draw_reliability
from train.findings import find
from train.machine import measure_latency
from train.recipe import Paper
from train.reliability import Reliability
from train.report import file_name, write_report
from train.statistics import metrics

PAPER = Paper(citation="Somebody 1999", reported="88.8 % of files", protocol="random split")
CURVES = dict.fromkeys(("train_loss", "validation_loss", "train_accuracy"), (1.0, 0.5, 0.4)) | {
    "validation_accuracy": (0.2, None, 0.5),
    "seconds": (60.0, 60.0, 60.0),
}


class Page(HTMLParser):
    """Text of a page, its addresses, and whether its tags are closed in order."""

    VOID = ("meta", "img", "source", "br")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "srcset", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def run(folds=2, seeds=2):
    return [
        random_record(0.7, files=30, start=30 * fold, fold=fold, seed=seed, curves=CURVES)
        for seed in range(seeds)
        for fold in range(folds)
    ]


def test_the_page_needs_nothing_else_and_says_it_all(tmp_path):
    model = save_toy(tmp_path / "toy.onnx")
    path = write_report(find(run(), paper=PAPER, latency=measure_latency(model)), tmp_path / "report")
    page = Page(path.read_text())
    assert page.open == []
    assert page.addresses
    assert all(address.startswith("data:image/svg+xml;base64,") for address in page.addresses)
    for expected in (
        "4 networks (2 folds, 2 seeds), 60 files",
        "File accuracy",
        "Macro-F1",
        "95 % intervals: percentile bootstrap",
        "Nadeau & Bengio",
        "88.8 % of files",
        "random split",
        "Most confident mistakes",
        "ms a window (median): ONNX Runtime",
        "12.0 minutes in all",
        *LABELS,
    ):
        assert expected in page.text


def test_markdown_has_the_same_figures_and_pictures_beside_it(tmp_path):
    path = write_report(find(run(), paper=PAPER), tmp_path)
    text = path.with_suffix(".md").read_text()
    pictures = re.findall(r"\]\((.*?)\)", text)
    assert len(pictures) == 5
    for picture in pictures:
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
    shares = set(re.findall(r"\d+\.\d %", path.read_text()))
    assert len(shares) > 10
    assert shares == set(re.findall(r"\d+\.\d %", text))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    for row, next_row in itertools.pairwise(rows):
        if set(next_row) <= set("|-:"):
            assert row.count("|") == next_row.count("|")


def test_one_network_has_no_table_of_folds_and_says_what_its_interval_leaves_out(tmp_path):
    text = write_report(find([random_record(0.7, fold=3)]), tmp_path).with_suffix(".md").read_text()
    assert "One network, 60 files of fold 3" in text
    assert "Folds and seeds" not in text
    assert "do not cover the chance in training" in text
    assert "curves" not in text


def test_a_published_decision_stands_beside_the_live_one():
    files = [file(f"{n}", "a", "a", published="b" if n % 2 else "a") for n in range(20)]
    found = find([record(files, decision=FileDecision(windows="random", count=15, rule="majority"))])
    live, published = found.judged
    assert published.words == "majority of 15 random windows"
    assert (live.figures[0].value, published.figures[0].value) == (1.0, 0.5)
    # All right: an interval that resampling cannot give.
    assert live.figures[0].interval.low == pytest.approx(0.025 ** (1 / 20))
    assert np.isnan(published.figures[3].value)


def test_calibration_is_shown_only_where_there_was_one(tmp_path):
    plain = random_record(0.7)
    text = write_report(find([plain]), tmp_path).with_suffix(".md").read_text()
    assert "| | not calibrated |" in text
    assert "at temperature 1 |" not in text
    assert "not calibrated (temperature 1); a label enters at" in text
    assert "ece_windows_before" in metrics(plain)
    assert not {"ece_windows_after", "ece_vote_after"} & set(metrics(plain))
    head = plain.card.head.model_copy(update={"temperature": 1.4})
    fitted = plain.model_copy(update={"card": plain.card.model_copy(update={"heads": (head,)})})
    page = write_report(find([fitted]), tmp_path)
    assert "| | at temperature 1 | calibrated |" in page.with_suffix(".md").read_text()
    assert "not calibrated" not in page.read_text().lower()
    assert {"ece_windows_after", "ece_vote_after"} <= set(metrics(fitted))


def test_one_of_a_thing_is_no_plural_and_the_first_window_has_one_article(tmp_path):
    one = record([file("x", "a", "a")], decision=FileDecision(windows="first"))
    card = one.card.model_copy(update={"provenance": one.card.provenance.model_copy(update={"epochs": 1})})
    page = write_report(find([one.model_copy(update={"card": card, "skipped": 1})], paper=PAPER), tmp_path)
    for text in (page.read_text(), page.with_suffix(".md").read_text()):
        assert "One network, 1 file." in text
        assert "1 epoch, " in text
        assert "1 file that does not decode or is too short" in text
        assert "files judged by the first window alone" in text


def test_curves_of_one_epoch_are_points_with_their_number():
    one, two = ({"train_loss": (1.0, 0.5)[:epochs]} for epochs in (1, 2))
    drawn = [draw_curves([curves], palette=LIGHT, format="svg").decode() for curves in (one, two)]
    # Only a marker is filled with its curve's colour.
    assert f"fill: {LIGHT.accents[0]}" in drawn[0]
    assert f"fill: {LIGHT.accents[0]}" not in drawn[1]


def test_a_class_without_files_is_named_and_breaks_nothing(tmp_path):
    records = [record([file("x", "a", "a"), file("y", "b", "a"), file("z", "b", "b")])]
    found = find(records)
    assert found.unheard == ("c",)
    assert found.judged[0].figures[2].value == 0.75
    page = Page(write_report(find(records), tmp_path).read_text())
    assert "in no mean over classes: c" in page.text
    assert "nan" not in page.text


def test_everything_right_leaves_no_mistakes_to_list(tmp_path):
    path = write_report(find([record([file("x", "a", "a"), file("y", "b", "b")])]), tmp_path)
    assert "mistakes" not in path.read_text()


def test_mistakes_are_the_most_confident_first():
    wrong = [file(f"{n}", "a", "b") for n in range(30)]
    sure = wrong[7].live.model_copy(update={"probabilities": (0.01, 0.98, 0.01)})
    wrong[7] = wrong[7].model_copy(update={"live": sure})
    found = find([record(wrong)]).mistakes
    assert len(found) == 20
    assert found[0] == ("7", "a", "b", 0.98, 0.01)


def test_names_are_text_never_markup(tmp_path):
    evil = ("<script>x</script>", "a|b`c", "$\\frac{$")
    files = [file(f"<img src=x>{n}", evil[n], evil[(n + 1) % 3], labels=evil) for n in range(3)]
    path = write_report(find([record(files, labels=evil, name="../<b>model")]), tmp_path)
    assert path.parent == tmp_path
    html = path.read_text()
    assert "<script" not in html
    assert "<img src=x" not in html
    assert "<script" not in path.with_suffix(".md").read_text().replace("\\<", "")


def test_names_of_files():
    assert file_name(card(name="genre10-lidy-parallel")) == "genre10-lidy-parallel"
    two = card(name="base").model_copy(update={"heads": toy_card(others=("mood",)).heads})
    assert file_name(two) == "base-pitch"
    assert file_name(card(name="../up and/away")) == "up-and-away"
    assert file_name(card(name="...")) == "model"


def test_abstaining_keeps_the_most_confident():
    sure = [file(f"s{n}", "a", "a", confidence=0.9) for n in range(4)]
    doubtful = [file(f"d{n}", "a", "b", confidence=0.6) for n in range(4)]
    even = [file("e0", "a", "a", confidence=0.5), file("e1", "a", "b", confidence=0.5)]
    coverage = Coverage.of([record([*even, *doubtful, *sure])])
    np.testing.assert_allclose(coverage.accuracy, [1, 1, 1, 1, 4 / 5, 4 / 6, 4 / 7, 4 / 8, 4.5 / 9, 5 / 10])
    assert coverage.at(0.4) == 1.0
    assert coverage.at(0.0) == 1.0
    assert coverage.at(1.0) == 0.5
    assert Coverage.of([record(sure)]).area == 0.0
    assert metrics(record([*even, *doubtful, *sure]))["accuracy_at_80"] == 0.5


def test_a_report_shows_what_abstaining_would_bring(tmp_path):
    page = write_report(find([random_record(0.7)]), tmp_path)
    text = page.with_suffix(".md").read_text()
    assert "| answered, the most confident first | 50.0 % | 80.0 % | 100.0 % |\n|---|---:|---:|---:|\n| right |" in text
    assert (tmp_path / f"{page.stem}-coverage.png").read_bytes().startswith(b"\x89PNG")
    assert "If only the most confident were answered" in page.read_text()


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_pictures_are_the_same_every_time(palette):
    matrix = np.array([[3, 1], [0, 0]])
    reliability = Reliability.of(np.array([[0.9, 0.1]]), np.array([0]))
    for draw in (
        lambda kind: draw_confusion(matrix, ["a", "b"], shares=True, palette=palette, format=kind),
        lambda kind: draw_reliability({"vote": reliability, "none": Reliability()}, palette=palette, format=kind),
        lambda kind: draw_coverage(Coverage(np.array([1.0, 0.5])), palette=palette, format=kind),
        lambda kind: draw_curves([CURVES, {"train_loss": (1.0,)}], palette=palette, format=kind),
    ):
        assert draw("svg") == draw("svg")
        assert draw("png").startswith(b"\x89PNG")


def test_latency_is_of_the_model_file(tmp_path):
    latency = measure_latency(save_toy(tmp_path / "toy.onnx"))
    assert latency.milliseconds > 0
    assert "ONNX Runtime" in latency.runtime
    assert latency.machine


def test_a_runs_folder_is_reported_as_one(tmp_path, capsys):
    for one in run():
        one.write(tmp_path / "records" / f"{one.name}.json")
    genrescope.app(["evaluate", str(tmp_path), "--report", str(tmp_path / "report")], standalone_mode=False)
    said = capsys.readouterr().out
    assert said.count("file_accuracy") == 4
    assert "fold-1-seed-0:" in said
    assert "4 networks (2 folds, 2 seeds)" in (tmp_path / "report/made-up.html").read_text()
    with pytest.raises(ConfigError, match="leave out --table"):
        genrescope.app(["evaluate", str(tmp_path), "--table", "x.csv"], standalone_mode=False)


def test_a_report_that_cannot_be_written_is_refused_before_anything_is_scored(tmp_path, capsys):
    for one in run():
        one.write(tmp_path / "records" / f"{one.name}.json")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"--report .*expected a folder to write to, .* is none \(Not a directory\)"):
        genrescope.app(["evaluate", str(tmp_path), "--report", str(tmp_path / "file/report")], standalone_mode=False)
    with pytest.raises(ConfigError, match="--report"):
        # Before the model is even read: there is none.
        genrescope.app(
            ["evaluate", str(tmp_path / "no.onnx"), "--report", str(tmp_path / "file")], standalone_mode=False
        )
    assert capsys.readouterr().out == ""
