"""Keeping, preparing in the background and failing, with preparations that wait to be told."""

import threading

import pytest

from mutualvideo.backends.common.base import Backend, Runner
from mutualvideo.errors import InputError
from mutualvideo.runtime.prepared import PreparationError, PreparedRunners
from mutualvideo.subnet import Subnet

A, B, C, D = (Subnet(width, 4, 32) for width in (0.25, 0.5, 0.75, 1.0))
MIB = 2**20
LONG = 30  # s; only a bug waits for it


class Plain(Runner):
    def __call__(self, clips):
        return clips


class Slow(Backend):
    """Prepares what ``let`` was called for, and fails for what is in ``bad``."""

    name = "slow"

    def __init__(self, nbytes=MIB, bad=(), immediate=False):
        self.nbytes, self.bad, self.immediate = nbytes, set(bad), immediate
        self.begun, self.gates, self.prepared = {}, {}, []
        for subnet in (A, B, C, D):
            self.begun[subnet], self.gates[subnet] = threading.Event(), threading.Event()

    def check(self, subnet):
        pass

    def input_shape(self, subnet):
        return 4, 32

    def let(self, *subnets):
        for subnet in subnets:
            self.gates[subnet].set()

    def prepare(self, subnet):
        self.begun[subnet].set()
        if not self.immediate:
            assert self.gates[subnet].wait(LONG)
        if subnet in self.bad:
            raise ValueError("no such\nkernel")
        self.prepared.append(subnet)
        return Plain(subnet, (4, 32), self.nbytes)


@pytest.fixture
def backend():
    backend = Slow()
    yield backend
    backend.let(A, B, C, D)  # no thread may outlive its test


def ready(runners, subnet):
    runners.switch(subnet)
    assert runners.wait_ready(LONG)


def test_the_one_before_answers_until_the_new_one_is_ready(backend):
    runners = PreparedRunners(backend)
    assert runners.answering() is None and runners.target is None
    backend.let(A)
    ready(runners, A)
    runners.switch(B)
    assert backend.begun[B].wait(LONG)
    # B waits at its gate: nothing here may.
    assert runners.answering().subnet == A and runners.target == B
    assert not runners.wait_ready(0)
    backend.let(B)
    assert runners.wait_ready(LONG)
    assert runners.answering().subnet == B
    # Back, without preparing again.
    runners.switch(A)
    assert runners.answering().subnet == A
    assert backend.prepared == [A, B]


def test_the_first_one_is_waited_for(backend):
    runners, found = PreparedRunners(backend), []
    runners.switch(A)
    assert backend.begun[A].wait(LONG)
    thread = threading.Thread(target=lambda: found.append(runners.answering()))
    thread.start()
    assert not found
    backend.let(A)
    thread.join(LONG)
    assert found[0].subnet == A


def test_switches_that_were_overtaken_are_not_prepared(backend):
    runners = PreparedRunners(backend)
    backend.let(A)
    ready(runners, A)
    runners.switch(B)
    assert backend.begun[B].wait(LONG)
    runners.switch(C)
    runners.switch(D)
    backend.let(B, C, D)
    assert runners.wait_ready(LONG)
    assert runners.answering().subnet == D
    assert backend.prepared == [A, B, D]
    # B was under way and is kept, but does not answer in between.
    assert B in runners and C not in runners


def test_what_somebody_asked_for_is_prepared_though_overtaken(backend):
    runners, found = PreparedRunners(backend), []
    runners.switch(A)
    assert backend.begun[A].wait(LONG)
    runners.request([C])
    runners.switch(C)
    thread = threading.Thread(target=lambda: found.append(runners.get(B)))
    thread.start()
    runners.switch(D)
    backend.let(A, B, C, D)
    thread.join(LONG)
    assert found[0].subnet == B
    assert runners.wait_ready(LONG)
    assert runners.answering().subnet == D
    assert runners.get(C).subnet == C
    assert sorted(backend.prepared) == [A, B, C, D]


def test_least_recently_used_are_let_go(backend):
    backend.let(A, B, C, D)
    runners = PreparedRunners(backend, cache_mib=2)
    for subnet in (A, B):
        ready(runners, subnet)
    assert runners.nbytes == 2 * MIB
    ready(runners, A)
    ready(runners, C)
    assert [subnet in runners for subnet in (A, B, C)] == [True, False, True]
    assert runners.nbytes == 2 * MIB
    ready(runners, B)
    assert [subnet in runners for subnet in (A, B, C)] == [False, True, True]
    assert backend.prepared == [A, B, C, B]


def test_the_one_that_answers_stays_whatever_its_size(backend):
    backend.let(A, C)
    runners = PreparedRunners(backend, cache_mib=0.5)
    ready(runners, A)
    runners.switch(B)
    assert backend.begun[B].wait(LONG)
    waiting = threading.Thread(target=lambda: runners.get(C))
    waiting.start()
    backend.let(B)
    waiting.join(LONG)
    assert runners.wait_ready(LONG)
    assert runners.answering().subnet == B
    assert B in runners and A not in runners


def test_a_failure_is_told_once_and_the_one_before_answers_on(backend):
    backend.bad.add(B)
    backend.let(A, B)
    runners = PreparedRunners(backend)
    ready(runners, A)
    runners.switch(B)
    message = f"sub-network {B} cannot be prepared by backend 'slow': no such kernel"
    with pytest.raises(PreparationError, match=message) as caught:
        runners.wait_ready(LONG)
    assert isinstance(caught.value.__cause__, ValueError)
    assert runners.answering().subnet == A and runners.target == A
    # Asked for again, it is tried again.
    backend.bad.clear()
    ready(runners, B)
    assert runners.answering().subnet == B


@pytest.mark.parametrize("tell", ["answering", "switch"])
def test_a_failure_that_nobody_waited_for(backend, tell):
    backend.bad.add(B)
    runners = PreparedRunners(backend)
    backend.let(A)
    ready(runners, A)
    runners.switch(B)
    backend.let(B, C)
    runners.get(C)  # prepared after B: B has failed by now
    with pytest.raises(PreparationError, match=f"sub-network {B}"):
        runners.answering() if tell == "answering" else runners.switch(C)
    assert runners.target == A
    assert runners.answering().subnet == A
    ready(runners, C)


def test_the_first_one_fails(backend):
    backend.bad.add(A)
    backend.let(A, B)
    runners = PreparedRunners(backend)
    runners.switch(A)
    with pytest.raises(PreparationError, match=f"sub-network {A}"):
        runners.answering()
    with pytest.raises(PreparationError, match=f"sub-network {A}"):
        runners.get(A)
    assert runners.answering() is None
    ready(runners, B)
    assert runners.answering().subnet == B


def test_immediate_backends_prepare_where_they_are_asked():
    backend = Slow(nbytes=0, bad=[B], immediate=True)
    runners = PreparedRunners(backend)
    runners.switch(A)
    assert runners.answering().subnet == A
    with pytest.raises(PreparationError, match=f"sub-network {B}"):
        runners.switch(B)
    assert runners.target == A and runners.answering().subnet == A
    assert not [thread for thread in threading.enumerate() if thread.name == "prepare"]


def test_many_threads_switch_and_ask(backend):
    backend.let(A, B, C, D)
    runners, wrong = PreparedRunners(backend, cache_mib=2), []

    def work(mine):
        for _ in range(50):
            runners.switch(mine)
            if runners.answering() is None or runners.get(mine).subnet != mine:
                wrong.append(mine)

    threads = [threading.Thread(target=work, args=(subnet,)) for subnet in (A, B, C, D)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert not wrong
    assert runners.wait_ready(LONG)
    # The bound, and the one prepared last beside the two in use.
    assert runners.nbytes <= 3 * MIB


def test_whoever_waits_when_all_is_closed_is_told(backend):
    runners, said = PreparedRunners(backend), []

    def ask(subnet):
        try:
            runners.get(subnet)
        except InputError as error:
            said.append(str(error))

    waiting = [threading.Thread(target=ask, args=[subnet]) for subnet in (A, B)]
    waiting[0].start()
    assert backend.begun[A].wait(LONG)
    asked, ask_for = threading.Event(), runners.ask
    runners.ask = lambda subnet: (ask_for(subnet), asked.set())[0]
    waiting[1].start()
    assert asked.wait(LONG)
    closing = threading.Thread(target=runners.close)
    closing.start()
    waiting[1].join(LONG)
    backend.let(A)
    for thread in (*waiting, closing):
        thread.join(LONG)
        assert not thread.is_alive()
    # The other one was being prepared, and was handed over.
    assert said == ["this recogniser was closed: open the run anew"]


def test_a_bound_must_be_positive(backend):
    with pytest.raises(InputError, match="cache_mib 0"):
        PreparedRunners(backend, cache_mib=0)
