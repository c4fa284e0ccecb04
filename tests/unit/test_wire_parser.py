"""Bytes as replies: the right one for every command however they are cut, an error for everything else."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memsession.commands import Get, Hit
from memsession.wire import Parser, ProtocolError
from memsession.wire.parser import LINE_BYTES_MAX, STATS_BYTES_MAX, VALUE_BYTES_MAX
from tests.replies import COMMANDS, GOOD, KEY, OTHER_KEY, bad_replies, line, plain, value


def parse(chunks, commands, first=1):
    """What a parser makes of chunks: the replies with their opaque numbers, as text, and how it ended."""
    parser = Parser(1)
    for opaque, command in enumerate(commands, start=first):
        parser.expect(command, opaque, opaque)
    replies = []
    try:
        for chunk in chunks:
            for ticket, reply in parser.feed(chunk):
                replies.append(repr((ticket, reply)))
    except ProtocolError as error:
        return replies, f"refused: {error}"
    return replies, "pending" if parser.awaited else "done"


def cuts(data):
    """The same bytes in one piece, byte by byte, and in two pieces at every place."""
    yield [data]
    yield [data[at : at + 1] for at in range(len(data))]
    for at in range(1, len(data)):
        yield [data[:at], data[at:]]


@pytest.mark.parametrize(("kind", "text", "reply"), GOOD)
def test_a_reply_is_the_same_however_it_is_cut(kind, text, reply):
    """A reply in one piece, byte by byte, or cut anywhere is the reply to its command."""
    for chunks in cuts(text(KEY, 1)):
        assert parse(chunks, [COMMANDS[kind]]) == ([repr((1, reply))], "done")


def test_pipelined_replies_are_the_same_however_they_are_cut():
    """Every kind of reply, one after the other, goes to its own command wherever the stream is cut."""
    stream = b"".join(text(KEY, opaque) for opaque, (_, text, _) in enumerate(GOOD, start=1))
    commands = [COMMANDS[kind] for kind, _, _ in GOOD]
    expected = [repr((opaque, reply)) for opaque, (_, _, reply) in enumerate(GOOD, start=1)]

    for chunks in cuts(stream):
        assert parse(chunks, commands) == (expected, "done")


@pytest.mark.parametrize("size", [VALUE_BYTES_MAX, 65_536, 8_193])
def test_long_values_arrive_in_pieces(size):
    """A value as long as memcached stores arrives whole from many reads."""
    stream = value(b"v" * size)(KEY, 1) + line(b"HD")(KEY, 2)
    pieces = [stream[at : at + 1_460] for at in range(0, len(stream), 1_460)]

    replies, end = parse(pieces, [COMMANDS["get"], COMMANDS["bury"]])

    assert end == "done"
    assert [len(reply) > size for reply in replies] == [True, False]


@pytest.mark.parametrize(("kind", "text"), bad_replies())
def test_a_bad_reply_is_no_reply(kind, text):
    """What is not exactly the reply to the command is refused, or still waited for; it never is a value."""
    data = text(KEY, 7)
    command = [COMMANDS[kind]]
    every_way = (
        cuts(data) if len(data) < 1_000 else [[data], [data[at : at + 999] for at in range(0, len(data), 999)]]
    )

    replies, end = parse([data], command, first=7)

    assert replies == []
    assert end == "pending" or end.startswith("refused: ")
    assert KEY.decode() not in end, "errors end in logs"
    for chunks in every_way:
        assert parse(chunks, command, first=7) == ([], end)


@pytest.mark.parametrize("kind", COMMANDS)
def test_nothing_stays_pending_for_ever_in_memory(kind):
    """A node that sends without end is refused after a bounded number of bytes."""
    for filler in (b"x", b"VA ", b"STAT a 5\r\n", b"S"):
        pieces = [filler] * (STATS_BYTES_MAX // len(filler) + 1)
        replies, end = parse(pieces, [COMMANDS[kind]])
        assert (replies, end[:7]) == ([], "refused")


def test_a_line_may_be_as_long_as_the_limit():
    """The limit of a line counts its end: one of 8,192 bytes passes, one byte more does not."""
    fits = b"SERVER_ERROR " + b"x" * (LINE_BYTES_MAX - 15) + b"\r\n"

    (_, reply), *_ = Parser.feed(_asked("get"), fits)

    assert len(reply.reason) < 300
    with pytest.raises(ProtocolError, match="without end"):
        list(_asked("get").feed(b"x" + fits))


def _asked(kind):
    parser = Parser(1)
    parser.expect(COMMANDS[kind], 1, None)
    return parser


@pytest.mark.parametrize(
    "extra",
    [line(b"EN"), line(b"HD"), value(b"again"), plain(b"x"), plain(b"\r\n"), plain(b"ERROR\r\n"), plain(b"ERROR")],
)
def test_more_than_was_asked_for_is_refused(extra):
    """A second reply to one command is refused; the first, which was right, counts."""
    replies, end = parse([value(b"first")(KEY, 1) + extra(KEY, 1)], [COMMANDS["get"]])

    assert end.startswith("refused")
    assert len(replies) == 1
    assert "first" in replies[0]


@pytest.mark.parametrize("early", [line(b"EN"), value(b"early"), plain(b"x"), plain(b"ERROR\r\n")])
def test_a_reply_before_its_request_is_refused(early):
    """Nothing is taken on credit: bytes that come while nothing is awaited end the connection."""
    replies, end = parse([early(KEY, 1)], [])

    assert replies == []
    assert end.startswith("refused")


def test_replies_before_an_anomaly_are_given_out():
    """What was read before the bad bytes is an answer like any other, in whatever piece it came."""
    for chunks in cuts(line(b"EN")(KEY, 1) + b"rubbish\r\n"):
        replies, end = parse(chunks, [COMMANDS["get"], COMMANDS["get"]])
        assert replies == ["(1, Miss())"]
        assert end.startswith("refused")


@pytest.mark.parametrize(
    ("greeting", "reason"),
    [
        (b"ERROR Too many open connections\r\n", "ERROR Too many open connections"),
        (b"SERVER_ERROR busy\r\n", "SERVER_ERROR busy"),
        (b"ERROR " + b"x" * 9_000 + b"\r\n", "nobody asked"),
        (b"VA 3 c1 ksecret O1\r\nabc\r\n", "nobody asked"),
    ],
)
def test_a_greeting_is_an_error_that_says_why(greeting, reason):
    """memcached tells a client that it is full before the client has said a word."""
    with pytest.raises(ProtocolError, match=reason):
        list(Parser(1).feed(greeting))


def test_no_bytes_are_the_end():
    """An empty read is how a closed connection shows; to wait for more would be to wait for ever."""
    for parser in (Parser(1), _asked("get")):
        with pytest.raises(ProtocolError, match="closed"):
            list(parser.feed(b""))


def test_server_error_answers_one_command_and_the_next_goes_on():
    """memcached declines one command with a line that has no echo; those after it are answered as ever."""
    stream = plain(b"SERVER_ERROR out of memory storing object\r\n")(KEY, 1) + value(b"fine")(KEY, 2)

    replies, end = parse([stream], [COMMANDS["cas"], COMMANDS["get"]])

    assert end == "done"
    assert "out of memory" in replies[0]
    assert "fine" in replies[1]


def test_a_stray_server_error_never_shifts_values():
    """If such a line stood for no command at all, the reply after it does not fit and no value is given out."""
    commands = [Get("a", KEY), Get("a", OTHER_KEY)]
    stream = b"SERVER_ERROR stray\r\n" + value(b"first")(KEY, 1) + value(b"second")(OTHER_KEY, 2)

    replies, end = parse([stream], commands)

    assert (len(replies), end[:7]) == (1, "refused")
    assert "Unreachable" in replies[0]


KEYS = st.sampled_from([KEY, OTHER_KEY, b"k"])
FRAGMENTS = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [b"\r\n", b"VA ", b"HD", b"EN", b" c7", b"SERVER_ERROR x\r\n", b"END\r\n", b"STAT a 1\r\n", b" "]
    ),
    st.builds(
        lambda key, opaque, code: line(code)(key, opaque), KEYS, st.integers(0, 6), st.sampled_from([b"EN", b"HD"])
    ),
    st.builds(
        lambda key, opaque, data, cut: value(data)(key, opaque)[:cut],
        KEYS,
        st.integers(0, 6),
        st.binary(max_size=12),
        st.sampled_from([None, -1, -2, -3, 5, 12]),
    ),
)


@settings(max_examples=300, deadline=None)
@given(
    stream=st.lists(FRAGMENTS, max_size=8).map(b"".join),
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    keys=st.lists(KEYS, min_size=1, max_size=5),
)
def test_no_bytes_ever_give_a_value_to_the_wrong_key(stream, sizes, keys):
    """Whatever arrives, however cut: only `ProtocolError` is raised, and a value has its own echo before it."""
    parser = Parser(1)
    for opaque, key in enumerate(keys, start=1):
        parser.expect(Get("a", key), opaque, (key, opaque))
    hits = []
    at = turn = 0
    try:
        while at < len(stream):
            size = sizes[turn % len(sizes)]
            for ticket, reply in parser.feed(stream[at : at + size]):
                if isinstance(reply, Hit):
                    hits.append((*ticket, reply.value))
            at, turn = at + size, turn + 1
    except ProtocolError:
        pass

    assert all(b" k%b O%d\r\n%b\r\n" % hit in stream for hit in hits)
