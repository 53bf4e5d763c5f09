"""Asking a server for a file, with everything that may be in the way as one sentence."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
import urllib3
from requests import Response, Session
from requests.utils import get_environ_proxies, select_proxy

from cellwright.errors import DataError

log = logging.getLogger(__name__)

T = TypeVar("T")

_AGAIN_LATER = (408, 425, 429, 500, 502, 503, 504)
_LONGEST_WISH = 60.0


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server, in seconds, and how often to try.

    ``tries`` counts attempts in a row that brought nothing new; before each but the first stands
    a pause, the first of ``pause`` seconds, each later one twice as long, up to ``longest``.
    """

    connect: float = 20.0
    read: float = 60.0
    tries: int = 5
    pause: float = 1.0
    longest: float = 30.0


class Dropped(Exception):
    """The connection failed in a way that may pass; the text is the beginning of a sentence.

    ``reached`` says whether the server had answered; ``wish`` is the pause in seconds that the
    server asked for.
    """

    def __init__(self, text: str, *, reached: bool, wish: float | None = None) -> None:
        super().__init__(text)
        self.reached = reached
        self.wish = wish


def new_session() -> Session:
    """A session whose answers come as the bytes of the file, not compressed on the way."""
    session = Session()
    session.headers["User-Agent"] = "cellwright (https://pypi.org/project/cellwright)"
    session.headers["Accept-Encoding"] = "identity"
    return session


@contextlib.contextmanager
def asked(
    session: Session,
    method: str,
    url: str,
    patience: Patience,
    headers: Mapping[str, str] | None = None,
    allowed: tuple[int, ...] = (),
) -> Iterator[Response]:
    """The server's answer, its body not yet read; a status of 400 or more is not in ``allowed``.

    Raises
    ------
    Dropped
        If it may work later: no connection, a connection that broke, a busy server.
    DataError
        If it will not: refused, not found, a certificate that is not trusted.
    """
    host = urlsplit(url).hostname or url
    with said(url):
        response = session.request(
            method,
            url,
            headers=dict(headers or {}),
            stream=True,
            allow_redirects=True,
            timeout=(patience.connect, patience.read),
        )
    with contextlib.closing(response):
        status = response.status_code
        if status >= 400 and status not in allowed:
            _refuse(response, host, url)
        yield response


@contextlib.contextmanager
def said(url: str) -> Iterator[None]:
    """Turn what requests and urllib3 raise on the way to ``url`` into Dropped or DataError."""
    host = urlsplit(url).hostname or url
    try:
        yield
    except requests.exceptions.TooManyRedirects as error:
        raise DataError(f"{host} sends {url} in a circle of redirects: {_short(error)}") from error
    except requests.exceptions.ProxyError as error:
        raise Dropped(_proxy_failed(host, url, error), reached=False) from error
    except (requests.exceptions.SSLError, urllib3.exceptions.SSLError) as error:
        raise DataError(
            f"no secure connection to {host} ({_short(error)}): check the clock; behind a proxy that "
            "opens TLS, name its certificate in REQUESTS_CA_BUNDLE"
        ) from error
    except (requests.exceptions.ReadTimeout, urllib3.exceptions.ReadTimeoutError) as error:
        raise Dropped(f"{host} fell silent", reached=True) from error
    except requests.exceptions.ConnectionError as error:
        raise _no_connection(host, url, error) from error
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
        if isinstance(error, ValueError):  # requests' word for an address that is none
            raise DataError(f"{url} is no address that can be asked: {_short(error)}") from error
        raise Dropped(f"the connection to {host} broke", reached=True) from error


def persistently(action: Callable[[], T], gained: Callable[[], int], patience: Patience) -> T:
    """Do ``action`` until it succeeds, with pauses between; ``gained`` counts what it has brought.

    Attempts are counted from the last one that brought something. A server that cannot be reached
    at all is not asked again, unless it was reached before.

    Raises
    ------
    Dropped
        The last one, if attempts bring nothing any more.
    """
    most, failures, reached = gained(), 0, False
    while True:
        try:
            return action()
        except Dropped as dropped:
            reached = reached or dropped.reached
            if gained() > most:
                most, failures = gained(), 0
            failures += 1
            if failures >= patience.tries or not reached:
                raise
            pause = min(patience.pause * 2 ** (failures - 1), patience.longest)
            pause = max(pause, dropped.wish or 0)
            log.info("%s; trying again in %.3g s", dropped, pause)
        time.sleep(pause)


def _refuse(response: Response, host: str, url: str) -> None:
    status, reason = response.status_code, response.reason or "no reason given"
    answer = f"{host} answers {status} ({reason}) for {url}"
    if status in _AGAIN_LATER:
        raise Dropped(answer, reached=True, wish=_wish(response))
    if status in (401, 403):
        advice = f"it may want a login or a browser, or refuse this place; {_proxy_hint(url)}"
    elif status in (404, 410):
        advice = (
            "the file has moved or is gone; look at the source that cellwright fetch --list names"
        )
    elif status == 407:
        advice = f"the proxy wants a name and a password; {_proxy_hint(url)}"
    else:
        advice = "look at the source that cellwright fetch --list names"
    raise DataError(f"{answer}: {advice}")


def _wish(response: Response) -> float | None:
    """Seconds of a Retry-After that is a number, at most a minute."""
    given = response.headers.get("Retry-After", "")
    return min(float(given), _LONGEST_WISH) if re.fullmatch(r"\d+", given) else None


def _no_connection(host: str, url: str, error: Exception) -> Dropped:
    causes = list(_causes(error))
    kinds = {type(cause).__name__ for cause in causes}
    if "NameResolutionError" in kinds or any(isinstance(c, socket.gaierror) for c in causes):
        text = f"the server {host} cannot be found: is there a network? ({_proxy_hint(url)})"
    elif any(isinstance(c, ConnectionRefusedError) for c in causes):
        text = f"{host} refuses the connection ({_proxy_hint(url)})"
    elif "ConnectTimeoutError" in kinds or "ConnectTimeout" in kinds:
        text = f"{host} does not answer ({_proxy_hint(url)})"
    elif "NewConnectionError" in kinds:
        text = f"{host} cannot be reached: {_short(causes[-1])} ({_proxy_hint(url)})"
    else:
        return Dropped(f"the connection to {host} broke", reached=True)
    return Dropped(text, reached=False)


def _proxy_failed(host: str, url: str, error: Exception) -> str:
    found = _proxy(url)
    where = f"{found[1]} ({found[0]})" if found else "of the settings"
    reason = _short(list(_causes(error))[-1])
    wants = "407" in reason
    advice = (
        "it wants a name and a password, http://NAME:PASSWORD@HOST:PORT" if wants else "check it"
    )
    return f"{host} cannot be reached through the proxy {where}: {reason}; {advice}"


def _proxy_hint(url: str) -> str:
    found = _proxy(url)
    if found is None:
        return "behind a proxy, set HTTPS_PROXY and HTTP_PROXY to http://HOST:PORT"
    return f"asked through the proxy {found[1]} ({found[0]})"


def _proxy(url: str) -> tuple[str, str] | None:
    """The variable that names the proxy for this address, and the proxy without its password."""
    proxy = select_proxy(url, get_environ_proxies(url, no_proxy=None))
    if not proxy:
        return None
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    shown = f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
    names = (f"{urlsplit(url).scheme.upper()}_PROXY", "ALL_PROXY")
    named = [n for name in names for n in (name.lower(), name) if os.environ.get(n) == proxy]
    return (named[0] if named else "the system's settings"), shown


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what led to it, as far down as requests and urllib3 kept it."""
    seen: set[int] = set()
    waiting: list[Any] = [error]
    while waiting:
        one = waiting.pop(0)
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [*one.args, getattr(one, "reason", None), one.__cause__, one.__context__]


def _short(error: BaseException) -> str:
    text = str(list(_causes(error))[-1]) or type(error).__name__
    return " ".join(text.split())[:200]
