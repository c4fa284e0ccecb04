from datetime import timedelta

from memsession import Cookie, Lifetime, Pool

pool = Pool("10.0.0.94", "10.0.0.95", "10.0.0.96", copies=2)
cookie = Cookie(name="shop", same_site="strict")
lifetime = Lifetime(idle=timedelta(minutes=15), absolute=timedelta(hours=8))
