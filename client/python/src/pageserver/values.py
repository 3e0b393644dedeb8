"""What calls answer."""
from dataclasses import dataclass
from typing import Any, List, NamedTuple, Optional

_ACCESS = {1: "read", 2: "write", 3: "fork"}
_VIEW = {1: "live", 2: "pinned"}
_PUBLISH = {1: "on_write", 2: "on_flush"}


class Version(NamedTuple):
    """A published state of a store. Numbers of two incarnations say nothing of each other."""

    incarnation: int
    number: int


class Range(NamedTuple):
    """`length` bytes from byte `offset`."""

    offset: int
    length: int


@dataclass(frozen=True)
class Refreshed:
    """What a refresh found."""

    version: Version
    pages: int
    everything: bool  # assume that every byte changed; `changed` is empty then
    changed: List[Range]


@dataclass(frozen=True)
class DataRanges:
    """What `ranges` leaves out of the part up to `described_until` is zero."""

    described_until: int
    ranges: List[Range]


@dataclass(frozen=True)
class View:
    """Size and version of what a session sees."""

    pages: int
    version: Version


@dataclass(frozen=True)
class Holder:
    """A session that holds the writer lease, or holds back an old version."""

    name: str
    address: str
    since_unix_ms: int
    idle_ms: int
    epoch: int
    access: str
    view: str
    publish: str
    version_number: int


@dataclass(frozen=True)
class Stat:
    """A report on one store."""

    store: str
    pages: int
    version: Version
    read_only: bool
    writer: Optional[Holder]
    writers_waiting: int
    sessions_live: int
    sessions_pinned: int
    sessions_write: int
    sessions_fork: int
    oldest_holder: Optional[Holder]
    size_bytes_max: int
    log_bytes: int
    checkpoint_lag_bytes: int
    held_bytes: int
    fork_bytes: int
    last_sync_error: str
    image_warning: str


@dataclass(frozen=True)
class Traffic:
    """What a session has cost so far."""

    requests: int
    round_trips: int
    bytes_sent: int
    bytes_received: int
    cache_hits: int
    cache_misses: int
    pages_read_ahead: int
    cache_bytes: int
    cache_bytes_peak: int


@dataclass(frozen=True)
class Store:
    """A store as a daemon lists it."""

    name: str
    pages: int
    read_only: bool
    open: bool


@dataclass(frozen=True)
class DaemonInfo:
    """What a daemon said of itself."""

    name: str
    protocol_version: int
    request_bytes_max: int
    requests_in_flight_max: int


def _text(raw: Optional[bytes]) -> str:
    return (raw or b"").decode("utf-8", "replace")


def version_of(found: Any) -> Version:
    return Version(found.incarnation, found.number)


def ranges_of(ranges: Any, count: int) -> List[Range]:
    return [Range(ranges[i].offset, ranges[i].length) for i in range(count)]


def refreshed_of(found: Any) -> Refreshed:
    changed = ranges_of(found.changed, found.count)
    return Refreshed(version_of(found.version), found.pages, found.everything != 0, changed)


def data_ranges_of(found: Any) -> DataRanges:
    return DataRanges(found.described_until, ranges_of(found.ranges, found.count))


def view_of(found: Any) -> View:
    return View(found.pages, version_of(found.version))


def holder_of(found: Any) -> Holder:
    return Holder(
        _text(found.name), _text(found.address), found.since_unix_ms, found.idle_ms, found.epoch,
        _ACCESS.get(found.access, ""), _VIEW.get(found.view, ""), _PUBLISH.get(found.publish, ""),
        found.version_number,
    )  # fmt: skip


def stat_of(found: Any) -> Stat:
    return Stat(
        _text(found.store), found.pages, version_of(found.version), found.read_only != 0,
        holder_of(found.writer.contents) if found.writer else None, found.writers_waiting, found.sessions_live,
        found.sessions_pinned, found.sessions_write, found.sessions_fork,
        holder_of(found.oldest_holder.contents) if found.oldest_holder else None, found.size_bytes_max,
        found.log_bytes, found.checkpoint_lag_bytes, found.held_bytes, found.fork_bytes,
        _text(found.last_sync_error), _text(found.image_warning),
    )  # fmt: skip


def traffic_of(found: Any) -> Traffic:
    return Traffic(
        found.requests, found.round_trips, found.bytes_sent, found.bytes_received, found.cache_hits,
        found.cache_misses, found.pages_read_ahead, found.cache_bytes, found.cache_bytes_peak,
    )  # fmt: skip


def stores_of(found: Any) -> List[Store]:
    stores = (found.stores[i].contents for i in range(found.count))
    return [Store(_text(each.name), each.pages, each.read_only != 0, each.open != 0) for each in stores]


def daemon_info_of(found: Any) -> DaemonInfo:
    return DaemonInfo(
        _text(found.name), found.protocol_version, found.request_bytes_max, found.requests_in_flight_max
    )
