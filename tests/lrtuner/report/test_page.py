"""The page: every number of it is one of the report's, and nothing in it does anything."""

import json
import re
from itertools import pairwise

import pytest

from lrtuner.jsontext import dumps
from lrtuner.plots import pairs_svg, schedule_svg, schedules_pages, trials_svg
from lrtuner.report import JobFacts
from lrtuner.report.page import page
from lrtuner.words import number
from tests.lrtuner.report.reading import Page
from tests.lrtuner.report.test_making import evidence, made, missing
from tests.searched import recommendation, spec, trial, trials

EVIL = "<script>alert(1)</script>\"'&<img src=x onerror=alert(2)>"


def pictures(report):
    return {
        "schedule": [schedule_svg(recommendation())],
        "pairs": [pairs_svg(report.pairs, "val_loss", 1.0)],
        "trials": [trials_svg(trials(), 1.0)],
        "schedules": schedules_pages(trials(), 1.0),
    }


def shown(report=None, drawn=None, address=""):
    report = report or made()
    return Page(page(report, pictures(report) if drawn is None else drawn, address))


def document(report):
    return json.loads(dumps(report.model_dump(mode="json")))


def numbers_of(told):
    """Every number in plain data."""
    if isinstance(told, dict):
        told = list(told.values())
    if isinstance(told, list):
        return {number for item in told for number in numbers_of(item)}
    return {float(told)} if isinstance(told, int | float) else set()


# the numbers --------------------------------------------------------------------------------------


def test_every_number_of_the_page_is_one_of_the_data_and_is_shown_as_such():
    report = made()
    known = numbers_of(document(report))
    found = shown(report).root.all("data")
    assert len(found) > 200
    for element in found:
        value = float(element.get("value"))
        assert value in known
        assert element.text in {number(value), f"{value:+.4g}", f"{100 * value:+.3g} %"}


def test_the_table_of_runs_is_the_data():
    runs = document(made())["runs"]
    names = ("number", "purpose", "origin", "family", "peak_lr", "horizon", "seed", "state")
    expected = [[run[name] for name in (*names, "value", "cost")] for run in runs]
    assert shown().rows("runs-table") == expected


def test_the_table_of_pairs_is_the_data():
    told = document(made())["pairs"]
    names = ("seed", "recommended", "other", "difference", "recommended_test", "other_test")
    expected = [
        [str(i), *(pair[name] for name in (*names, "test_difference"))]
        for i, pair in enumerate(told["pairs"], start=1)
    ]
    page = shown()
    assert page.rows("pairs-table") == expected
    [foot] = page.id("pairs-table").all("tfoot")
    assert foot.numbers == [told["mean"], told["test_mean"]]


def test_without_a_test_split_there_are_no_columns_for_it():
    runs = [t.model_copy(update={"metrics": {}}) for t in trials()]
    page = shown(made(trials=runs))
    assert [len(row) for row in page.rows("pairs-table")] == [5] * 5
    assert len(page.id("pairs-table").all("thead")[0].all("th")) == 5


def test_the_ledger_is_the_data():
    ledger = document(made())["ledger"]
    names = ("runs", "cost", "saved", "diverged", "failed")
    page = shown()
    expected = [[e["phase"], *(e[name] for name in names)] for e in ledger["entries"]]
    assert page.rows("ledger-table") == expected
    [foot] = page.id("ledger-table").all("tfoot")
    assert foot.numbers == [ledger[name] for name in names]


def test_peaks_sensitivity_and_comparisons_are_the_data():
    told, page = document(made()), shown()
    peaks = told["range_test"]["peaks"]
    assert page.rows("peaks-table") == [
        [
            kind.replace("_", " "),
            *(peak[name] for name in ("lr", "low", "high", "base")),
            "yes" if peak["probed"] else "no",
        ]
        for kind, peak in peaks.items()
    ]
    assert page.rows("sensitivity-table") == [[0.5, 0.0412], [2.0, "no run says so"]]
    names = ("number", "state", "value", "recommended", "difference", "cost")
    assert page.rows("comparisons-table") == [
        [one["name"].replace("_", " "), *(one[name] for name in names)]
        for one in told["comparisons"]
    ]


def test_the_agreement_of_horizons_is_the_data():
    told, page = document(made())["agreements"], shown()
    tables = [each for each in page.root.all("table") if each.get("class") == "agreement"]
    names = ("shorter_number", "shorter_peak", "shorter_value")
    names += ("longer_number", "longer_peak", "longer_value")
    for table, one in zip(tables, told, strict=True):
        caption = [one["shorter_steps"], one["longer_steps"]]
        caption += [one["spearman"]] if one["spearman"] is not None else []
        assert table.all("caption")[0].numbers == caption
        rows = [row.numbers for row in table.all("tbody")[0].all("tr")]
        assert rows == [[arm[name] for name in names] for arm in one["arms"]]


def test_the_verdict_is_the_data():
    report = document(made())
    verdict = report["answer"]["verdict"]
    assert shown().id("verdict").numbers == [
        verdict["difference"],
        verdict["recommended_mean"],
        verdict["baseline_mean"],
        *verdict["ci95"],
        verdict["p_value"],
        verdict["pairs"],
        report["ledger"]["cost"],
        report["ledger"]["budget"],
    ]


# safe ---------------------------------------------------------------------------------------------


def evil():
    job = JobFacts(
        id="job_1",
        status="failed",
        name=EVIL,
        metadata={EVIL: EVIL},
        error={"code": "raised", "message": EVIL},
    )
    failed = {"state": "failed", "error": {"code": EVIL, "message": EVIL}}
    runs = [trial(0, value=None, origin=EVIL, shape=EVIL, **failed), trial(1, "comparison")]
    search = {"warnings": [{"code": EVIL, "message": EVIL}], "drift": {"alpha": 1, "source": EVIL}}
    return made(
        job=job,
        spec=spec(name=EVIL[:60], metadata={EVIL[:60]: EVIL}),
        trials=[runs[0], runs[1].model_copy(update={"shape": EVIL})],
        search=search,
        environment={"device": EVIL},
    )


def test_what_comes_from_users_is_text_and_nothing_else():
    page = shown(evil(), drawn={}, address='https://a.example/"><script>')
    assert page.root.text.count("<script>alert(1)</script>") >= 9
    assert not page.root.all("script", "img", "b")
    assert page.id("failures").all("li")[0].text.endswith(f"{EVIL}")
    for element in page.root.walk():
        assert not [name for name in element.attributes if name.startswith("on")]


@pytest.mark.parametrize("report", [made(), evil(), missing("running")])
def test_the_page_fetches_nothing_and_runs_nothing(report):
    drawn = pictures(report) if report.pairs else {}
    page = shown(report, drawn)
    assert not page.root.all("script", "link", "img", "iframe", "object", "embed", "form", "base")
    for element in page.root.walk():
        assert not {"src", "srcset", "action", "style", "background"} & set(element.attributes)
        if element.get("href") is not None:
            assert element.tag == "a"
    css = "".join(style.text for style in page.root.all("style"))
    assert "url(" not in css
    assert "@import" not in css
    [policy] = [e for e in page.root.all("meta") if e.get("http-equiv")]
    assert policy.get("content").startswith("default-src 'none';")


# readable -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("report", [made(), evil(), missing("running"), missing("failed")])
def test_the_page_is_in_order(report):
    page = shown(report, pictures(report) if report.pairs else {})
    assert page.declaration == "doctype html"
    [html] = page.root.all("html")
    assert html.get("lang") == "en"
    ids = [each.get("id") for each in page.root.walk() if each.get("id")]
    assert len(set(ids)) == len(ids)
    levels = [int(each.tag[1]) for each in page.root.all("h1", "h2", "h3", "h4")]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    for link in page.root.all("nav")[0].all("a"):
        assert page.has(link.get("href").removeprefix("#"))
    for section in page.root.all("section"):
        assert page.has(section.get("aria-labelledby"))


def test_every_table_has_a_caption_and_headers():
    tables = shown().root.all("table")
    assert len(tables) == 9
    for table in tables:
        assert table.all("caption")[0].text
        assert all(cell.get("scope") in ("col", "row") for cell in table.all("th"))
        width = len(table.all("thead")[0].all("th"))
        for row in table.all("tbody")[0].all("tr"):
            assert len(row.all("th", "td")) == width
            assert row.all("th")


def test_every_picture_has_a_title_a_description_and_a_caption():
    figures = shown().root.all("figure")
    assert len(figures) == 4
    for figure in figures:
        assert figure.all("figcaption")[0].text
        drawn = [each for each in figure.children if getattr(each, "tag", "") == "svg"]
        assert drawn
        for svg in drawn:
            assert svg.get("role") == "img"
            assert svg.all("title")[0].text
            assert svg.all("desc")[0].text


def test_a_picture_that_is_not_there_leaves_no_figure():
    assert not shown(drawn={"schedule": []}).root.all("figure")


def test_paper_and_the_dark_have_their_rules():
    text = page(made(), {}, "")
    assert "@page{size:A4" in text
    assert re.search(r"@media print\{.*break-inside:avoid", text, re.DOTALL)
    assert text.count("prefers-color-scheme") == text.count(
        "screen and (prefers-color-scheme:dark)"
    )


def test_why_parts_are_missing_is_said_where_they_would_be():
    page = shown(missing("failed"), {})
    for name, told in missing("failed").missing.items():
        section = {"sensitivity": "range-test", "range_test": "range-test", "agreements": "rungs"}
        assert told in page.id(section.get(name, name)).text
    assert "The job has failed: All diverged (nothing_trained)." in page.root.text
    assert not page.has("runs-table")


def test_what_makes_it_less_sure_is_said():
    assert "The best peak lies at the high end." in shown().id("warnings").text
    assert not shown(made(search={})).has("warnings")
    repeatable = evidence().range_test.model_copy(update={"repeatable": False})
    assert "Two trainings from one seed" in shown(made(range_test=repeatable)).root.text
    assert "Two trainings from one seed" not in shown().root.text


def test_how_to_get_it_and_how_to_repeat_it():
    page = shown(address="https://lr.example")
    commands = [each.text for each in page.root.all("pre")]
    assert "lrtuner download job_1 --output schedule.json" in commands[0]
    assert 'curl -OJ "https://lr.example/v1/jobs/job_1/recommendation?format=torch"' in commands[0]
    assert commands[1] == "lrtuner submit job.json --wait --output schedule.json"
    [job] = [each for each in page.root.all("pre") if each.text.startswith("{")]
    assert type(evidence().spec).model_validate_json("".join(job.children)) == evidence().spec
    told = page.id("provenance").text
    assert "2.13.0" in told
    assert "sha256:" + "a" * 64 in told
    assert "seccomp, landlock" in told
    assert "timm 1.0.9" in told
    assert "dataset streamed" in told
    assert made().reproduction.content_hash in told
    links = [each.get("href") for each in page.root.all("a")]
    assert "https://lr.example/v1/jobs/job_1/report.json" in links
    assert "$LRTUNER_URL/v1/jobs/job_1/" in shown().root.text


def test_the_same_report_gives_the_same_page():
    assert page(made(), pictures(made())) == page(made(), pictures(made()))
