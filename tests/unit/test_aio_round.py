"""A round by itself: when it is over, and what becomes of replies after that."""

import asyncio

from memsession.aio.round import Round
from memsession.commands import Miss, Stored, Unreachable


def test_it_is_over_when_each_command_has_its_reply():
    """Replies come in any order and are kept in the order of the commands; the last one wakes who waits."""

    async def main():
        round_ = Round(2)
        over = round_.over(asyncio.get_running_loop())
        round_.answer(1, Stored())
        assert (round_.left, over.done()) == (1, False)
        round_.answer(0, Miss())
        assert (round_.left, over.done()) == (0, True)
        assert [type(reply) for reply in round_.replies] == [Miss, Stored]

    asyncio.run(main())


def test_when_its_time_has_come_what_is_missing_is_unreachable():
    """What was answered in time counts. What comes later changes nothing, for a plan has the replies already."""

    async def main():
        round_ = Round(3)
        over = round_.over(asyncio.get_running_loop())
        round_.answer(1, Stored())
        round_.expire("too late")
        replies = round_.replies
        for index in (0, 1, 2):
            round_.answer(index, Miss())
        round_.expire("again")

        assert over.done()
        assert [type(reply) for reply in replies] == [Unreachable, Stored, Unreachable]
        assert replies[0] == Unreachable("too late")

    asyncio.run(main())


def test_who_gave_up_waiting_may_wait_again():
    """A future that was cancelled with its task is replaced; the replies go on to be collected."""

    async def main():
        loop = asyncio.get_running_loop()
        round_ = Round(2)
        round_.over(loop).cancel()
        round_.answer(0, Miss())
        over = round_.over(loop)
        over.cancel()
        round_.answer(1, Miss())

        assert round_.left == 0
        assert over.cancelled()

    asyncio.run(main())
