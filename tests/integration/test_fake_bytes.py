"""The fake node and real memcached 1.6.18: the same bytes of commands, the same bytes of replies."""

import re
import socket
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memsession.testing import FakePool
from memsession.testing.dialogue import VERSION
from tests.servers import Memcached

PATIENCE_S = 30.0
ASK_END, END = b"mg the-end k\r\n", b"EN kthe-end\r\n"


class Line:
    """A connection to a node, and the CAS number from which this test counts."""

    def __init__(self, port):
        self.port = port
        self.open()

    def open(self):
        self.door = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)
        self.first = 0
        self.send(b"flush_all\r\nms probe 0 c\r\n\r\nmd probe q\r\n")
        self.first = int(re.search(rb"HD c\+(\d+)", self.hear())[1])

    def send(self, data):
        """Send it; `{+7}` stands for the seventh CAS number from here, and that is also how `hear` tells them."""
        data = re.sub(rb"\{\+(\d+)\}", lambda found: b"%d" % (self.first + int(found[1])), data)
        self.door.sendall(data + ASK_END)

    def hear(self):
        """All replies up to that of the last command, CAS numbers counted from the first one."""
        answer = b""
        while not answer.endswith(END):
            piece = self.door.recv(65_536)
            if not piece:
                answer += b"<closed>"
                break
            answer += piece
        return re.sub(rb" c(\d+)", lambda found: b" c+%d" % max(0, int(found[1]) - self.first), answer)

    def ask(self, data):
        self.send(data)
        return self.hear()

    def close(self):
        self.door.close()


@pytest.fixture(scope="module")
def ports():
    with Memcached() as real, FakePool(nodes=1) as fake:
        yield real.port, fake.pool.nodes[0].port


@pytest.fixture
def both(ports):
    """A line to each of them, both empty."""
    lines = [Line(port) for port in ports]
    yield lines
    for line in lines:
        line.close()


def alike(both, *pieces):
    """What both answer; it is the same."""
    answers = []
    for line in both:
        answers.append([])
        for piece in pieces:
            try:
                answers[-1].append(line.ask(piece))
            except ConnectionError:
                answers[-1].append(b"<closed>")
            if answers[-1][-1].endswith(b"<closed>"):
                line.close()
                line.open()
    assert answers[1] == answers[0]
    return answers[0]


LONG = "k" * 250
STATEMENTS = [
    "ms a 1 T60 ME k O1|1|mg a c v k O2|ms a 1 T60 ME k O3|2|mg a c v k O4",
    "ms a 1 T60 ME k O1|1|ms a 1 T60 C{+1} k O2|2|ms a 1 T60 C{+1} k O3|3|mg a c v k O4",
    "ms a 1 T60 C{+1} k O2|2|mg a c v k O4|ms a 1 T60 C0 k O2|2",
    "ms a 1 c k O1|1|ms a 1 C0 c O1|2|ms a 1 MS C{+1} c|3|ms a 1 MR C{+2} c|4|mg a v c",
    "ms a 1 T600 k O1|1|mg a|mg a s t f c k O77 v|mg a v v|mg a k O1 q|mg b k O1 q|mg b k O1",
    "ms a 2 F7 T0|ab|ms a 1 MA|c|ms a 1 MP F9 T5|d|mg a v f t s c",
    "ms a 1 MA c|x|ms a 1 MP c|x|ms a 1 MR c|x|ms a 1 ME c|x|ms a 1 MR c|y|mg a v c",
    "ms a 1 MA C5 c|x|ms a 1 c|x|ms a 1 MA C{+1} c|y|ms a 1 MA C1 c|z|ms a 1 MP C0 c|z",
    "ms a 1 q|1|ms a 1 ME q O5|1|ms b 1 C5 q|1|mg a v q|md a q|md a q|version",
    "ms a 1 q|123|version",
    "ms a 1|12|ms a 3|1|mg a v|",
    "md a|ms a 0||md a C1 k O1|md a C{+1} O1 k|md a x|md a k k|md",
    f"md a O{'1' * 31}|md a k O{'1' * 32}|md a Fx|md a Tx",
    "ms a 1 T-1|1|mg a v|ms a 1 T2592001|1|mg a v|ms a 1 T2592000|1|mg a v",
    "ms a 1 T4000000000|1|mg a v|ms a 1 T4294967296|1|mg a v t|ms a 1 T99999999999999999999|1",
    "ms a 1 T2147483647|1|mg a v|mg a T0 t|mg a T-1|mg a v|mg b T60 k",
    "ms a 1 F4294967296|1|mg a f|ms a 1 F4294967295|1|mg a f|ms a 1 F-1|1|ms a 1 Fx|1",
    "ms a 1 C18446744073709551615|1|ms a 1 C18446744073709551616|1|ms a 1 C-1|1|ms a 1 C|1",
    "ms a 1 C-18446744073709551615|1|ms a 1 C+1|1|ms a 1 C1\t|1|ms a 1 C\t1x|1",
    "ms a 1 M|1|ms a 1 MX|1|ms a 1 MEE|1|ms a 1 Me|1|ms a 1 T|1|ms a 1 Tx M|1",
    f"ms a 1 O{'1' * 31}|1|ms a 1 O{'1' * 32}|1|ms a 1 MX O{'1' * 32}|1",
    f"mg a O{'1' * 31}|mg a O{'1' * 32}|ms a 1|1|mg a O{'1' * 32}|mg a q O{'1' * 32}",
    "ms a x|ms a -1|ms a 2147483646|ms a 1x|ms a|ms|ms  a  1  |1|ms a +1|2|mg a v",
    "ms a 1 ! T5|1|ms a 1 T5 T6|1|ms a 1 Tx Fx|1|ms a 1 Fx Tx|1|ms a 1 \xe4|1|mg a \xe4",
    "mg a !|mg a z|mg a Tx|mg a Fx|mg a Cx M|mg|mg | mg a|mga|MG a",
    "mg a k c v s t f q O1 T5 C5 F5 MS L P1|ms a 1 k c v s t f q O1 T5 F5 MS L P1|1|mg a f L P1",
    f"mg a{' k' * 17}|mg a{' k' * 18}|mg a{' k' * 40}|md a{' k' * 18}|md a{' k' * 17}",
    f"ms a 1{' k' * 17}|ms a 1{' k' * 16}|1|mg a v",
    f"ms {LONG} 1 k|1|mg {LONG} k v|ms {LONG}k 1|mg {LONG}k|md {LONG}k",
    "ms a\0b 1 k|mg a\0 k|ms a\tb 1 k|1|mg a\tb k v|ms \xff\xfe 1 k|1|mg \xff\xfe k v",
    "|\n |\r|x|xx|version\nversion\r|version x|VERSION|mn x|mx a|m",
    "get|foo bar|versions|stats nonsense|lru_crawler|lru_crawler metadump|lru_crawler mgdump all",
    *("lru_crawler metadump all x", "lru_crawler metadump x", "lru_crawler metadump 0", "lru_crawler metadump 64"),
    "ms a 1|1|flush_all|mg a|ms a 1 c|1|mg a v c|flush_all 0|mg a|ms a 1 c|1",
    "flush_all noreply|flush_all x|flush_all x noreply|flush_all 0 noreply|flush_all 0 0 0|flush_all -1",
    "ms a 0||mg a v s|ms a 0 T0|xx|mg a v",
    "GET / HTTP/1.1|Host: x",
    "POST / HTTP/1.0",
    "mg a HTTP/1.1|mx HTTP/1.1|ms a 1 HTTP/1.1|1",
    "quit",
    "quit now|version",
]
"""Lines of commands and values; a bar is the end of one."""


@pytest.mark.parametrize("statement", STATEMENTS, ids=range(len(STATEMENTS)))
def test_both_answer_the_same(both, statement):
    """Right commands and wrong ones: the same replies in the same order, the same refusals, the same end."""
    alike(both, statement.encode("latin-1").replace(b"|", b"\r\n") + b"\r\n")


def test_the_longest_value_is_the_same(both):
    """To the byte, with and without flags; a longer one is refused, drops what was there and is passed over."""
    for key, flags, most in ((b"a", b"", 1_048_516), (LONG.encode(), b" F1", 1_048_263)):
        for size in (most - 1, most, most + 1):
            head = b"ms %b %d%b\r\n" % (key, size, flags)
            [answer] = alike(both, b"ms %b 1\r\n1\r\n" % key + head + b"v" * size + b"\r\nmg %b s\r\n" % key)
            assert (b"too large" in answer) == (size > most), (size, answer)


def test_appending_too_much_is_refused_alike(both):
    """What would be too large together is not stored, and the old value stays."""
    half = b"ms a 600000 %b\r\n" + b"v" * 600_000 + b"\r\nmg a s\r\n"

    [_, answer] = alike(both, half % b"k", half % b"MA")
    assert answer == b"NS\r\nHD s600000\r\n" + END


@pytest.mark.parametrize("length", [2_040, 2_048, 2_049, 5_000, 16_000])
def test_a_line_without_end(both, length):
    """After 2 KiB of half a line both close the connection; a long whole line is one like others."""
    alike(both, b"x" * length + b"\r\n")
    endings = []
    for line in both:
        line.door.sendall(b"x" * length)
        if length > 2_048:
            endings.append(_end_of(line.door))
        else:
            line.door.sendall(b"\r\n" + ASK_END)
            endings.append(line.hear())
    assert endings[0] == endings[1]


def _end_of(door):
    """What comes until the connection ends; a reset is an end."""
    answer = b""
    try:
        while piece := door.recv(65_536):
            answer += piece
    except ConnectionResetError:
        pass
    return answer


def test_versions_are_the_same(both):
    """The fake says that it is the release whose answers it gives."""
    assert alike(both, b"version\r\n") == [b"VERSION %b\r\n" % VERSION.encode() + END]


def test_listings_are_the_same(both):
    """The same lines but for their order, the time and the slab class; with every kind of key and expiry."""
    fill = b"ms a%b 1 T0\r\n1\r\nms b:c 5 T-1\r\n12345\r\nms d:e~.-_ 3 T600 F5\r\n123\r\nmg a%b v\r\n"
    fill += b"ms " + LONG.encode() + b" 0\r\n\r\nms \xffx 1\r\n1\r\nmg \xffx\r\n"
    alike(both, fill)
    for what in (b"all", b"hash"):
        told = []
        for line in both:
            line.door.sendall(b"lru_crawler metadump %b\r\n" % what)
            answer = b""
            while not answer.endswith(b"END\r\n"):
                answer += line.door.recv(65_536)
            lines = re.sub(rb"(exp|la)=(\d+)", _in_minutes, re.sub(rb"cls=\d+", b"cls", answer))
            lines = re.sub(rb"cas=(\d+)", lambda found, line=line: b"cas+%d" % (int(found[1]) - line.first), lines)
            told.append(sorted(lines.split(b"\n")))
        assert told[0] == told[1]
        assert len(told[0]) == 6


def _in_minutes(found):
    """A time, by how far it is from now."""
    return b"%b~%d" % (found[1], round((int(found[2]) - time.time()) / 60))


def test_figures_are_told_in_the_same_form(both):
    """Each figure of the fake is one of memcached's, and the time is right."""
    figures = []
    for line in both:
        line.send(b"stats\r\n")
        answer = line.hear()
        assert re.fullmatch(rb"(STAT \S+ [^\r\n]*\r\n)+END\r\n" + END, answer)
        figures.append(dict(re.findall(rb"STAT (\S+) (.*)\r\n", answer)))

    assert figures[1].keys() <= figures[0].keys()
    assert abs(int(figures[1][b"time"]) - int(figures[0][b"time"])) <= 2


KEYS = st.sampled_from([b"a", b"b", b"c:%", LONG.encode()])
MAYBE_BAD_KEYS = st.one_of(KEYS, KEYS, KEYS, st.sampled_from([LONG.encode() + b"k", b"", b"\x01", b"\xff"]))
TTLS = st.sampled_from([b"T0", b"T600", b"T-1", b"T100", b"T9000000000", b"T2592001", b"Tx", b"T"])
CAS = st.one_of(st.integers(0, 12).map(lambda step: b"C{+%d}" % step), st.sampled_from([b"C0", b"C", b"Cx", b"C-1"]))
MODES = st.sampled_from([b"ME", b"MS", b"MA", b"MP", b"MR", b"M", b"MX", b"MES"])
OPAQUES = st.sampled_from([b"O1", b"O", b"O" + b"x" * 31, b"O" + b"x" * 32])
FLAGS = st.one_of(
    st.sampled_from([b"k", b"c", b"v", b"s", b"f", b"q", b"k", b"c"]),
    *(TTLS, CAS, MODES, OPAQUES),
    st.sampled_from([b"F5", b"F0", b"Fx", b"z", b"\xe4", b"L", b"P1", b"1"]),
)
VALUES = st.binary(max_size=12).filter(lambda value: not re.search(rb" c|\{|[A-Za-z]{3}|^\x80", value))
"""Neither what looks like a CAS number, nor a command of memcached that the fake does not have, nor HTTP."""


@st.composite
def commands(draw):
    """One command, mostly right."""
    name = draw(st.sampled_from([b"ms", b"ms", b"ms", b"mg", b"mg", b"md", b"mn", b"version", b"flush_all", b"raw"]))
    flags = draw(st.lists(FLAGS, max_size=5))
    if draw(st.integers(0, 5)):
        # Mostly without a flag given twice.
        flags = list({flag[:1]: flag for flag in flags}.values())
    key = draw(MAYBE_BAD_KEYS)
    match name:
        case b"ms":
            value = draw(VALUES)
            size = len(value) + draw(st.sampled_from([0, 0, 0, 0, 0, 0, -1, 1]))
            return b" ".join([b"ms", key, b"%d" % size, *flags]) + b"\r\n" + value + b"\r\n"
        case b"mg" | b"md":
            return b" ".join([name, key, *flags]) + b"\r\n"
        case b"raw":
            return draw(VALUES) + b"\r\n"
        case _:
            return name + b"\r\n"


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sequence=st.lists(commands(), min_size=1, max_size=12))
def test_any_sequence_is_answered_the_same(ports, sequence):
    """Sequences of commands, right and wrong, over few keys: byte for byte the same."""
    both = [Line(port) for port in ports]
    try:
        # A value that was announced too long is completed by what follows, for both alike.
        alike(both, b"".join(sequence) + b"\r\nmn\r\n" * 2)
    finally:
        for line in both:
            line.close()
