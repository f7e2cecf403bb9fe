import multiprocessing

import pytest

from mutualvideo.data.prepare.jobs import Failure, run_jobs
from mutualvideo.errors import InputError
from tests.data.prepare.jobs import act


@pytest.mark.parametrize("workers", [1, 3])
def test_every_job_has_its_result(workers):
    jobs = [("square", n) for n in range(20)]
    assert sorted(run_jobs(act, jobs, workers)) == [(job, job[1] ** 2) for job in jobs]


def test_no_jobs():
    assert list(run_jobs(act, [])) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_crashed_and_late_jobs_fail_alone(workers):
    bad = [("crash", 0), ("hang", 0), ("exit", 0)]
    jobs = [("square", 1), *bad, *(("square", n) for n in range(2, 6))]
    found = dict(run_jobs(act, jobs, workers, timeout=5))
    assert {job: found[job] for job in bad} == {
        ("crash", 0): Failure("the decoder crashed (SIGSEGV)"),
        ("hang", 0): Failure("took longer than 5 s"),
        ("exit", 0): Failure("the decoder crashed (exit code 3)"),
    }
    assert all(found["square", n] == n * n for n in range(1, 6))


@pytest.mark.parametrize(
    "kind, error, words",
    [("input", InputError, "^7 is wrong$"), ("bug", RuntimeError, "ZeroDivisionError: 7")],
)
def test_errors_of_the_function_end_the_run(kind, error, words):
    with pytest.raises(error, match=words):
        list(run_jobs(act, [("hang", 0), (kind, 7)], 2))
    assert not multiprocessing.active_children()


def test_an_abandoned_run_leaves_no_process():
    run = run_jobs(act, [("square", 2), ("hang", 0), ("hang", 1)], 2)
    assert next(run) == (("square", 2), 4)
    run.close()
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("arguments, key", [((0, 1), "--workers"), ((1, 0), "--timeout")])
def test_bad_arguments(arguments, key):
    with pytest.raises(InputError, match=key):
        list(run_jobs(act, [("square", 1)], *arguments))
