"""The summary and the report: the answer first, honest about what is missing, whole files, any size."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest

import reports
from benchmarks import gates
from benchmarks.properties import properties
from fixtures.records import Verdict
from reports import pages
from reports.headline import headlines
from reports.svg import DARK, LIGHT
from reports.tables import make_tables
from tests.simulate import World, simulate

WORLD = World(source_effect={"code": 0.03, "news": 0.015}, documents=12)


def run(world=WORLD, **options):
    manifest, records = simulate(world, **options)
    return manifest, records, gates.judge(manifest, records)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A run with tasks beside losses, and its report."""
    world = dataclasses.replace(WORLD, tasks=("piqa",), items=200)
    path = reports.write(*run(world), tmp_path_factory.mktemp("report"))
    return path.parent


class Page(HTMLParser):
    """Open elements, texts and everything that a page would load."""

    VOID = ("meta", "br", "link", "img", "hr", "input")

    def __init__(self, text):
        super().__init__()
        self.stack, self.loads, self.ids, self.text = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.loads += [
            v for k, v in attrs.items() if k in ("src", "href", "xlink:href") and not v.startswith(("#", "data:"))
        ]
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.stack.pop()

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


class TestSummary:
    def test_it_opens_on_the_answer(self):
        first = reports.summary(*run()).splitlines()[0]
        assert first.startswith("known-corpus-1m: calibrate on web.")

    @pytest.mark.parametrize("width", [60, 80, 100, 200])
    def test_it_keeps_to_the_width(self, width):
        world = dataclasses.replace(WORLD, sources=("web", "code", "news", "dialogue", "encyclopedia", "random-tokens"))
        assert max(map(len, reports.summary(*run(world), width=width).splitlines())) <= width

    def test_cells_are_mean_and_sd_over_draws(self):
        manifest, records, verdicts = run()
        dense = next(r for r in records if r.case["draw"] is None)

        def damage(record):
            pairs = [
                a / t - b / t
                for d in record.nll
                for a, b, t in zip(record.nll[d].nll, dense.nll[d].nll, dense.nll[d].tokens, strict=True)
            ]
            return sum(pairs) / len(pairs)

        draws = [damage(r) for r in records if r.case["method"] == "wanda-0.5" and r.case["draw"]["source"] == "code"]
        mean = sum(draws) / 5
        sd = (sum((x - mean) ** 2 for x in draws) / 4) ** 0.5
        assert f"{mean:.3f} ±{sd:.3f}" in reports.summary(manifest, records, verdicts)

    def test_calibration_free_methods_show_exactly_no_spread(self):
        row = next(line for line in reports.summary(*run()).splitlines() if line.startswith("rtn"))
        assert row.count("±0 ") + row.endswith("±0") == 3

    def test_a_failure_and_an_open_question_are_not_passes(self):
        manifest, records = simulate(dataclasses.replace(WORLD, draw_sd=0.05))
        manifest["gates"] = {"variance_limit": 0.001, "gates": ["variance", "regression"]}
        text = reports.summary(manifest, records, gates.judge(manifest, records))
        assert "2 fail, 1 inconclusive" in text
        assert "FAIL variance[known-corpus-1m wanda-0.5]" in text or "fail variance, 2 times" in text

    def test_methods_without_a_record_share_a_line(self):
        manifest, records = simulate(WORLD)
        some = [r for r in records if r.case["method"] in ("dense", "wanda-0.5")]
        lines = reports.summary(manifest, some, gates.judge(manifest, some)).splitlines()
        assert "  not run: rtn-w3g64, gptq-w3g64" in lines
        assert not any(line.startswith("gptq") for line in lines)

    def test_missing_and_repaired_are_said(self):
        manifest, records, _ = run()
        records.pop()
        records[3].compression["linears"][0]["fallbacks"] = 2
        records[3].compression["linears"][1]["skipped"] = "no token reached it"
        starved = {"name": "model.layers.0.mlp.experts.down_proj.2", "shape": [64, 96], "tokens": 95}
        records[3].compression["linears"][0] |= starved
        records[3].compression["details"] = {"kept_dense": {"mlp.gate.weight": {"blocks": 2, "entries": 512}}}
        manifest["set_aside"] = ["records/ab.json.gz: not JSON"]
        manifest["missing"] = {"known-corpus-1m-gptq-w3g64-news-s4": "its record was made by other code"}
        text = " ".join(reports.summary(manifest, records, gates.judge(manifest, records)).split())
        assert "1 of 46 records missing, its record was made by other code: known-corpus-1m-gptq-w3g64-news-s4" in text
        assert "2 times the Cholesky factorization failed" in text
        assert "1 linears stayed dense" in text
        assert "512 weights in blocks stayed dense that are no linear" in text
        assert "1 linears of experts saw fewer tokens than they have inputs" in text
        assert "set aside" in text


class TestAnswer:
    def test_equal_sources_are_not_ranked(self):
        manifest, records, verdicts = run(dataclasses.replace(WORLD, source_effect={}, draw_sd=0.01, documents=8))
        text = str(headlines(make_tables(manifest, records, verdicts)[1])[0])
        assert "no source is told apart from another" in text
        assert "calibrate on" not in text

    def test_a_tie_at_the_top_names_both(self):
        effect = {"web": 0.0, "code": 0.05, "news": 0.0005}
        manifest, records, verdicts = run(dataclasses.replace(WORLD, source_effect=effect, methods=("wanda-0.5",)))
        answer = headlines(make_tables(manifest, records, verdicts)[1])[0]
        assert answer.lead == "known-corpus-1m: calibrate on web or news."

    def test_a_path_is_shown_by_its_last_part(self):
        text = reports.summary(*run(dataclasses.replace(WORLD, models=("/somewhere/long/tiny",))))
        assert text.startswith("tiny: calibrate on web")
        assert "/somewhere" not in text

    @pytest.mark.parametrize("seeds", [1, 2])
    def test_one_draw_names_no_source(self, seeds):
        text = reports.summary(*run(dataclasses.replace(WORLD, seeds=seeds)))
        assert text.startswith("These records do not say which source to use.") == (seeds == 1)

    def test_a_control_that_beats_the_text_is_worth_a_sentence(self):
        world = dataclasses.replace(
            WORLD, sources=("web", "code", "random-tokens"), source_effect={"code": 0.03, "random-tokens": -0.05}
        )
        text = reports.summary(*run(world))
        assert "calibrate on web" in text
        assert "random-tokens does no worse than web" in " ".join(text.split())


class TestFiles:
    def test_the_page_is_whole_and_loads_nothing(self, written):
        text = (written / "report.html").read_text()
        page = Page(text)
        assert page.stack == []
        assert page.loads == []
        assert "url(http" not in text
        assert len(page.ids) == len(set(page.ids))

    def test_the_answer_comes_first_and_every_part_is_there(self, written):
        text = " ".join("".join(Page((written / "report.html").read_text()).text).split())
        parts = ["calibrate on web.", "Damage, nats a token", ": every draw", "what moves the result"]
        parts += ["Source against method", "Tasks: accuracy, every draw, changed answers, confidence"]
        parts += [
            "mean accuracy of",
            "changed answers and confidence",
            "confidence against accuracy",
            "Medians over cases",
        ]
        parts += ["A gate fails only if", "Repaired, skipped or missing", "records made", "Licences of models"]
        places = [text.index(part) for part in parts]
        assert places == sorted(places)
        assert "CC0-1.0" in text

    def test_figures_have_no_colour_that_the_theme_does_not_set(self, written):
        text = (written / "report.html").read_text()
        for drawing in re.findall(r"<svg.*?</svg>", text, flags=re.S):
            used = set(re.findall(r"(?:fill|stroke): ?([^;\"]+)", drawing))
            assert {u.strip() for u in used if not u.strip().startswith("var(")} <= {"none"}
        names = set(re.findall(r"var\(--(\w+)\)", text))
        style = text[: text.index("</style>")]
        assert {n for n in names - {"w"} if f"--{n}:" not in style} == set()  # each figure sets its own width

    def test_plots_stand_alone_in_both_themes(self, written):
        plots = sorted((written / "plots").glob("*.svg"))
        assert len(plots) >= 4
        for plot in plots:
            text = plot.read_text()
            assert ET.fromstring(text.encode()).tag.endswith("svg")
            assert LIGHT["c0"] in text
            assert DARK["c0"] in text

    def test_data_of_each_figure_is_one_click_away(self, written):
        text = (written / "report.html").read_text()
        for figure in re.findall(r"<figure.*?</figure>", text, flags=re.S):
            assert 'href="data:text/csv' in figure

    def test_csv_has_a_row_a_record(self, written):
        rows = list(csv.DictReader(io.StringIO((written / "records.csv").read_text())))
        assert len(rows) == 46
        assert {"nll_web", "nll_news", "nll_of_all_tokens_web", "accuracy_piqa", "weights_hash"} <= set(rows[0])

    def test_csv_subtracts_to_the_figures_of_the_tables(self, tmp_path):
        manifest, records, verdicts = run(dataclasses.replace(WORLD, domains=("web",)))
        reports.write(manifest, records, verdicts, tmp_path)
        rows = list(csv.DictReader(io.StringIO((tmp_path / "records.csv").read_text())))
        loss = {(r["method"], r["source"], r["seed"]): float(r["nll_web"]) for r in rows}
        (table,) = json.loads((tmp_path / "report.json").read_text())["tables"]
        assert table["dense"] == pytest.approx(loss["dense", "", ""])
        (dense,) = (record for record in records if record.case["method"] == "dense")
        assert properties(dense, found=False)["finding"] == f"{table['dense']:.3f} nats a token"
        for cell in table["cells"]:
            draws = [loss[cell["method"], cell["source"], str(seed)] for seed in range(len(cell["values"]))]
            assert cell["values"] == pytest.approx([value - table["dense"] for value in draws], abs=1e-9)
        apart = [abs(float(r["nll_web"]) - float(r["nll_of_all_tokens_web"])) for r in rows]
        assert min(apart) > 1e-6  # or nothing here tells the two apart

    def test_json_has_the_verdicts(self, written):
        found = json.loads((written / "report.json").read_text())
        assert [Verdict.from_dict(v).id for v in found["verdicts"]]
        assert found["answer"][0].startswith("known-corpus-1m: calibrate on")

    def test_markdown_opens_on_the_answer_and_fits_a_step_summary(self, written):
        text = (written / "report.md").read_text()
        assert "calibrate on web" in text.splitlines()[2]
        assert len(text.encode()) < 2**20

    def test_the_same_run_gives_the_same_bytes(self, tmp_path):
        for name in ("a", "b"):
            reports.write(*run(), tmp_path / name)
        for path in sorted((tmp_path / "a").rglob("*.*")):
            assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()

    def test_names_are_escaped(self, tmp_path):
        manifest, records = simulate(dataclasses.replace(WORLD, models=("<script>x</script>",)))
        path = reports.write(manifest, records, gates.judge(manifest, records), tmp_path)
        assert "<script>" not in path.read_text()

    def test_a_write_that_fails_leaves_the_old_file(self, tmp_path, monkeypatch):
        path = tmp_path / "report.md"
        pages.write_text(path, "old")

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(pages.os, "replace", full)
        with pytest.raises(OSError, match="No space"):
            pages.write_text(path, "new")
        assert [p.name for p in tmp_path.iterdir()] == ["report.md"]
        assert path.read_text() == "old"


class TestSizes:
    def test_one_record(self, tmp_path):
        manifest, records = simulate(dataclasses.replace(WORLD, methods=("wanda-0.5",), sources=("web",), seeds=1))
        for some in (records, records[:1], records[1:]):
            verdicts = gates.judge(manifest, some)
            assert "which source to use" in reports.summary(manifest, some, verdicts) or len(some) == 1
            assert reports.write(manifest, some, verdicts, tmp_path).stat().st_size > 1000

    def test_no_verdicts_and_no_records(self, tmp_path):
        manifest, _ = simulate(WORLD)
        assert "No answer yet" in reports.summary(manifest, [], [])
        assert reports.write(manifest, [], [], tmp_path).exists()

    def test_one_document(self, tmp_path):
        manifest, records, verdicts = run(dataclasses.replace(WORLD, documents=1, domains=("web",)))
        assert {v.outcome for v in verdicts if v.gate == "variance"} == {"inconclusive"}
        assert reports.write(manifest, records, verdicts, tmp_path).exists()

    @pytest.mark.slow
    def test_ten_thousand_records(self, tmp_path):
        world = World(
            models=tuple(f"model-{k}" for k in range(20)),
            methods=("wanda-0.5", "gptq-w3g64", "wanda-2of4", "rtn-w3g64"),
            sources=tuple(f"source-{k}" for k in range(12)),
            seeds=10,
            documents=2,
            domains=("web",),
            linears=1,
        )
        manifest, records = simulate(world)
        assert len(records) == 9620
        start = time.process_time()
        verdicts = gates.judge(manifest, records)
        path = reports.write(manifest, records, verdicts, tmp_path)
        assert time.process_time() - start < 60
        assert path.stat().st_size < 8_000_000
        assert (tmp_path / "report.md").stat().st_size < 2**20


def test_importing_is_cheap():
    heavy = ["torch", "transformers", "datasets", "lm_eval", "scipy", "matplotlib", "jinja2"]
    code = f"import sys, reports, reports.groups, benchmarks.gates; print([m for m in {heavy!r} if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_a_small_damage_keeps_digits_and_a_large_one_has_three(tmp_path):
    world = dataclasses.replace(WORLD, damage={"gptq-w3g64": 0.0004}, source_effect={}, draw_sd=0.00004, noise=0.0001)
    path = reports.write(*run(world), tmp_path)
    for text in (reports.summary(*run(world), 100), (tmp_path / "report.md").read_text()):
        (small,) = re.findall(r"^\|? ?gptq-w3g64 .*±.*$", text, re.M)
        (large,) = re.findall(r"^\|? ?wanda-0.5 .*±.*$", text, re.M)
        assert re.search(r" 0\.00\d{3} ±0\.000\d\d", small), small
        assert not re.search(r"±0\.0+\b", small + large), small + large
        assert re.search(r" 0\.[12]\d{4} ±0\.0000\d", large), large  # its SD would be a zero
    cells = re.findall(r'">([\u22120-9.]+) <span class="sd">± ([0-9.]+)', path.read_text())
    assert len(cells) >= 6
    assert all(float(sd) > 0 for mean, sd in cells if float(mean.replace("\u2212", "-")) < 0.1)
    usual = reports.summary(*run(), 100)
    assert re.search(r"wanda-0.5 +0\.\d{3} ±0\.\d{3}", usual)


def test_many_models_have_a_line_each_and_no_records_no_empty_table(tmp_path):
    many = tuple(f"an-organisation/model-{k}" for k in range(10))
    world = dataclasses.replace(WORLD, models=many, documents=4, seeds=2)
    text = reports.write(*run(world), tmp_path / "a").read_text()
    top = text[text.index('id="answer"') : text.index("</header>")]
    assert top.count("<summary>") == 10
    assert top.count("<details>") == top.count("</details>") == 10
    assert 'href="#cost"' in text
    manifest, _, verdicts = run()
    empty = reports.write(manifest, [], verdicts, tmp_path / "b").read_text()
    assert "#cost" not in empty
    assert 'id="cost"' not in empty
