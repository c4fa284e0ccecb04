from datetime import timedelta

from memsession import Exclusive

everywhere = Exclusive()
checkout_only = Exclusive(paths=["/checkout", "/cart"], methods=["POST"])
patient = Exclusive(wait=timedelta(seconds=30), expire=timedelta(minutes=2), on_timeout="read_only")
