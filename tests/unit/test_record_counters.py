"""What a process has counted: exact, bounded, undone on failure, forgotten after a fork, safe between threads."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from memsession.record import CounterMemory, SubCount


def names():
    """Fresh writer names."""
    numbers = count()
    return lambda: f"w{next(numbers)}"


def once(memory, session, **increments):
    """Count, and give what was counted."""
    with memory.counting(session, increments) as own:
        return dict(own)


def test_counts_go_on_under_one_name():
    """n is the number of increments, amount their sum; another session or key has another name."""
    memory = CounterMemory(names())

    assert once(memory, b"s", n=2) == {"n": ("w0", SubCount(1, 2))}
    assert once(memory, b"s", n=-5, p=1) == {"n": ("w0", SubCount(2, -3)), "p": ("w1", SubCount(1, 1))}
    assert once(memory, b"t", n=1) == {"n": ("w2", SubCount(1, 1))}
    assert len(memory) == 3


def test_nothing_to_count_is_no_critical_section():
    """Without increments nothing is remembered, and sections may be nested."""
    memory = CounterMemory(names())

    with memory.counting(b"s", {}) as own, memory.counting(b"s", {}):
        assert own == {}
    assert len(memory) == 0


def test_what_fails_is_not_counted():
    """An error in the section undoes its counts, new names included; the section after it goes on."""
    memory = CounterMemory(names())
    once(memory, b"s", n=1)

    with pytest.raises(KeyError), memory.counting(b"s", {"n": 7, "p": 7}):
        raise KeyError

    assert once(memory, b"s", n=1) == {"n": ("w0", SubCount(2, 2))}
    assert once(memory, b"s", p=1) == {"p": ("w2", SubCount(1, 1))}


def test_an_error_before_the_section_does_not_lock_it():
    """No name could be drawn: nothing is counted, and the next request can count."""
    broken = [True]

    def name():
        if broken:
            raise OSError("no randomness")
        return "w"

    memory = CounterMemory(name)
    with pytest.raises(OSError, match="no randomness"), memory.counting(b"s", {"n": 1}):
        pytest.fail("the section began")
    broken.clear()

    assert once(memory, b"s", n=1) == {"n": ("w", SubCount(1, 1))}


def test_the_memory_is_bounded():
    """The entry that was used longest ago is forgotten; its key goes on under a fresh name."""
    memory = CounterMemory(names(), limit=2)
    for key in ("a", "b", "a", "c"):
        once(memory, b"s", **{key: 1})

    assert len(memory) == 2
    assert once(memory, b"s", a=1) == {"a": ("w0", SubCount(3, 3))}
    assert once(memory, b"s", b=1) == {"b": ("w3", SubCount(1, 1))}


def test_the_memory_can_be_cleared():
    """Then everything goes on under fresh names."""
    memory = CounterMemory(names())
    once(memory, b"s", n=1)
    memory.clear()

    assert len(memory) == 0
    assert once(memory, b"s", n=1) == {"n": ("w1", SubCount(1, 1))}


FORKING = """
import os, secrets
from memsession.record import CounterMemory

memory = CounterMemory(lambda: secrets.token_hex(8))


def count(session):
    with memory.counting(session, {"n": 1}) as own:
        return own["n"]


parent = count(b"s")
held = memory.counting(b"t", {"n": 1})
held.__enter__()
child = os.fork()
if child == 0:
    own = count(b"s")
    os._exit(0 if own.writer != parent.writer and own.sub.n == 1 and len(memory) == 1 else 1)
_, status = os.waitpid(child, 0)
held.__exit__(None, None, None)
again = count(b"s")
print(os.waitstatus_to_exitcode(status), again.writer == parent.writer, again.sub.n)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork()")
def test_a_forked_child_begins_under_fresh_names():
    """Also if the parent was in a critical section at that moment; the parent goes on as before."""
    done = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, text=True, timeout=30, check=True)

    assert done.stdout.split() == ["0", "True", "2"]


FORKING_THREADS = """
import os, sys, threading
from itertools import count as numbers
from memsession.record import CounterMemory

names = numbers()
memory = CounterMemory(lambda: f"w{next(names)}")
held = memory.counting(b"t", {"n": 1})
held.__enter__()
sys.setswitchinterval(1e-6)


def work(errors):
    try:
        for _ in range(50):
            with memory.counting(b"s", {"n": 1}):
                pass
    except BaseException as error:
        errors.append(error)


failed = 0
for _ in range(20):
    child = os.fork()
    if child == 0:
        errors = []
        threads = [threading.Thread(target=work, args=(errors,), daemon=True) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        os._exit(1 if errors or any(thread.is_alive() for thread in threads) else 0)
    _, status = os.waitpid(child, 0)
    failed += os.waitstatus_to_exitcode(status) != 0
print(failed)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork()")
def test_the_first_threads_of_a_forked_child_do_not_race():
    """Whatever the parent held at that moment: the child's memory is ready before it has a second thread."""
    done = subprocess.run(
        [sys.executable, "-c", FORKING_THREADS], capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.split() == ["0"]


def test_threads_do_not_lose_counts():
    """Many threads count on the same key: every n comes exactly once."""
    memory = CounterMemory(names())

    def work(_):
        return [once(memory, b"s", n=1)["n"].sub.n for _ in range(200)]

    with ThreadPoolExecutor(8) as pool:
        seen = [n for part in pool.map(work, range(8)) for n in part]

    assert sorted(seen) == list(range(1, 1601))
