"""What the visit counter must be told by its environment, checked before the first visitor comes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path

from memsession import Pool
from memsession.errors import ConfigurationError

Networks = tuple[IPv4Network | IPv6Network, ...]


class SettingsError(ValueError):
    """A variable is missing or wrong; the message names it and the cure."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The visit counter's settings.

    `secret_key`: signs the cookies; the same on every web server.
    `pool`: the memcached servers; the same on every web server.
    `name`: what this web server is called on the page.
    `trusted_proxies`: networks whose word on the visitor's address is believed.
    `control`: the socket of the demo that started this web server; with it, the page /pool has buttons that stop
    servers.
    `hint`: a line on that page that says how else to stop one.
    `cookie`: the session cookie's name. Browsers keep one jar for all ports of a host.
    """

    secret_key: str = field(repr=False)
    pool: Pool
    name: str = "counter"
    trusted_proxies: Networks = ()
    control: Path | None = None
    hint: str = ""
    cookie: str = "session"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Read COUNTER_SECRET or COUNTER_SECRET_FILE, COUNTER_POOL, and what may be left out: COUNTER_NAME,
        COUNTER_TRUSTED_PROXIES, COUNTER_CONTROL, COUNTER_HINT and COUNTER_COOKIE.

        Raises:
            SettingsError: one of them is missing or malformed.
        """
        control = environment.get("COUNTER_CONTROL", "")
        return cls(
            secret_key=_secret(environment),
            pool=_pool(environment.get("COUNTER_POOL", "")),
            name=environment.get("COUNTER_NAME", "counter"),
            trusted_proxies=_networks(environment.get("COUNTER_TRUSTED_PROXIES", "")),
            control=Path(control) if control else None,
            hint=environment.get("COUNTER_HINT", ""),
            cookie=environment.get("COUNTER_COOKIE", "") or "session",
        )

    def trusts(self, address: str) -> bool:
        """Whether a proxy at `address` is believed."""
        try:
            peer = ip_address(address)
        except ValueError:
            return False
        return any(peer in network for network in self.trusted_proxies)


def _secret(environment: Mapping[str, str]) -> str:
    given, file = environment.get("COUNTER_SECRET", ""), environment.get("COUNTER_SECRET_FILE", "")
    if given and file:
        raise SettingsError("COUNTER_SECRET and COUNTER_SECRET_FILE are both set: take one of them away")
    if given:
        return given
    if not file:
        raise SettingsError(
            "neither COUNTER_SECRET nor COUNTER_SECRET_FILE is set: make a secret with "
            'python3 -c "import secrets; print(secrets.token_urlsafe(32))" and give every web server the same'
        )
    try:
        secret = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"COUNTER_SECRET_FILE={file} cannot be read: {error}") from error
    if not secret:
        raise SettingsError(f"COUNTER_SECRET_FILE={file} is empty: put a secret of 32 or more characters there")
    return secret


def _pool(text: str) -> Pool:
    if not text:
        raise SettingsError(
            "COUNTER_POOL is not set: name the memcached servers, for instance "
            "COUNTER_POOL='memcached://10.0.0.94,10.0.0.95?copies=2'"
        )
    try:
        return Pool(text)
    except ConfigurationError as error:
        raise SettingsError(f"COUNTER_POOL: {error}") from error


def _networks(text: str) -> Networks:
    try:
        return tuple(ip_network(entry.strip()) for entry in text.split(",") if entry.strip())
    except ValueError as error:
        raise SettingsError(
            f"COUNTER_TRUSTED_PROXIES: {error}; give addresses or networks, for instance 127.0.0.1,10.0.0.0/8"
        ) from error
