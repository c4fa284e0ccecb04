"""What happens behind the requests, so that sessions nobody uses are as safe as those in use. No I/O in here."""

from memsession.upkeep.chores import Chore, Listing, Pause
from memsession.upkeep.keeper import Keeper
from memsession.upkeep.options import Upkeep
from memsession.upkeep.site import site_of

__all__ = ["Chore", "Keeper", "Listing", "Pause", "Upkeep", "site_of"]
