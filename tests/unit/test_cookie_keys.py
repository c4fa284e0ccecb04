"""Changing the secret while web servers are replaced one after another: nobody is logged out.

    stage 0   [old]        before
    stage 1   [old, new]   signs with the old one still, verifies the new one too
    stage 2   [new, old]   signs with the new one
    stage 3   [new]        after: what only the old one signed is over

Two neighbouring stages are on duty at the same time while a stage is rolled out, so each must take what the other
issues, cookies and stored values alike. Between stages 2 and 3 lies the longest life of a session: what was signed
at stage 1 ends with the old key.
"""

from itertools import product

import pytest

from memsession.cookies import Cookie, CookieSigner, Found
from memsession.identity import SessionId, storage_key
from memsession.seal import Seal
from memsession.secret import secret_keys

OLD, NEW, LEAKED = (
    "0aeojUcVX0kE3pYq-1Zt5fWm_9RsLbHd7nGi",
    "Qw8-ziKJx2mT_4uNcB6yVh1oPgE9sRfLdA3k",
    "x7" + "Kf9_qLz-3Wb" * 3,
)
STAGES = ([OLD], [OLD, NEW], [NEW, OLD], [NEW])
IDS = [SessionId.new() for _ in range(20)]


class WebServer:
    """One web server's keys at work: cookies and stored values of the same sessions."""

    def __init__(self, secrets: list[str]) -> None:
        keys = secret_keys(secrets)
        self._signer = CookieSigner(Cookie(), keys)
        self._seal = Seal(keys)

    def begins(self, id_: SessionId) -> tuple[bytes, bytes]:
        """Return the Cookie header that the browser will send from now on, and what is stored."""
        cookie = self._signer.issue(id_, https=True).partition(b";")[0]
        return cookie, self._seal.seal(storage_key(id_, "shop"), id_.text.encode())

    def knows(self, cookie: bytes, value: bytes) -> tuple[SessionId | None, bool]:
        """Return whose cookie it is, and whether the stored value can be opened as that session's."""
        found = self._signer.find(cookie, https=True)
        if found.id is None:
            assert found == Found(bad=True)
            opened = any(self._seal.open(storage_key(id_, "shop"), value) for id_ in IDS)
            return None, opened
        return found.id, self._seal.open(storage_key(found.id, "shop"), value) == found.id.text.encode()


def accepted(issuer: int, reader: int) -> bool:
    """Whether all sessions that a server of the one stage began are good on a server of the other; or none is."""
    begun = [WebServer(STAGES[issuer]).begins(id_) for id_ in IDS]
    known = [WebServer(STAGES[reader]).knows(*one) for one in begun]
    all_known = known == [(id_, True) for id_ in IDS]

    assert all_known or known == [(None, False)] * len(IDS)
    return all_known


@pytest.mark.parametrize(("issuer", "reader"), [*product(range(4), repeat=2)])
def test_neighbouring_stages_take_each_others_sessions(issuer: int, reader: int) -> None:
    """All of them in any two neighbouring stages, either way round; otherwise those whose key is on the list."""
    signs_with_old, reads_old, reads_new = issuer < 2, reader < 3, reader > 0
    expected = reads_old if signs_with_old else reads_new

    assert accepted(issuer, reader) == expected
    if abs(issuer - reader) <= 1:
        assert expected


def test_without_the_verify_only_stage_sessions_are_lost() -> None:
    """Who goes from [old] to [new, old] at once: servers that were not yet replaced refuse what the others issue."""
    assert not accepted(2, 0)


def test_removing_a_key_ends_exactly_its_sessions() -> None:
    """A leaked key is taken off the list: what it signed is refused, everything else is as good as before."""
    at_risk, mended = [NEW, LEAKED, OLD], [NEW, OLD]
    begun = {secret: [WebServer([secret]).begins(id_) for id_ in IDS] for secret in at_risk}
    before, after = WebServer(at_risk), WebServer(mended)

    for secret in at_risk:
        assert [before.knows(*one) for one in begun[secret]] == [(id_, True) for id_ in IDS]
        gone = [(None, False)] * len(IDS)
        stays = [(id_, True) for id_ in IDS]
        assert [after.knows(*one) for one in begun[secret]] == (gone if secret == LEAKED else stays)


def test_the_first_key_signs_and_the_last_does_not() -> None:
    """Signing with the oldest key would make a change impossible."""
    several, first, last = WebServer([NEW, LEAKED, OLD]), WebServer([NEW]), WebServer([OLD])

    assert all(several.begins(id_) == first.begins(id_) for id_ in IDS)
    assert not any(several.begins(id_)[0] == last.begins(id_)[0] for id_ in IDS)


def test_a_cookie_and_its_stored_value_may_have_different_keys() -> None:
    """A session begun with the old key and stored again with the new one is one session wherever both verify."""
    for id_ in IDS:
        cookie, _ = WebServer([OLD]).begins(id_)
        _, value = WebServer([NEW]).begins(id_)

        for stage in (1, 2):
            assert WebServer(STAGES[stage]).knows(cookie, value) == (id_, True)
