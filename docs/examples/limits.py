from datetime import timedelta

from memsession import Lifetime

office = Lifetime()  # idle 30 minutes, absolute 12 hours
bank = Lifetime(idle=timedelta(minutes=5), absolute=timedelta(hours=4))
forum = Lifetime(longest=timedelta(days=30))  # as the default; a handler may give a session up to 30 days
