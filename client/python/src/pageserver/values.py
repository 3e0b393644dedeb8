"""What calls answer."""
from dataclasses import dataclass
from typing import Any, List, NamedTuple, Optional

_ACCESS = {1: "read", 2: "write", 3: "fork"}
_VIEW = {1: "live", 2: "pinned"}
_PUBLISH = {1: "on_write", 2: "on_flush"}
_STATE = dict(enumerate(("greeting", "front", "opening", "in_line", "session", "leaving", "detached")))
_WAITS_FOR = dict(enumerate(("nothing", "directory", "store", "lease", "flush", "room", "disk", "turn")))


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
class Recovery:
    """What an opening of a store found beside its image after a kill or a loss of power, and replayed."""

    unix_ms: int
    log_bytes: int
    log_files: int
    records: int
    pages: int
    dropped_files: int
    dropped_records: int
    kept_count: int
    kept_files: List[str]  # names in the image's folder; not in a list of stores
    warned: bool  # more than a torn end was dropped
    warning: str  # why, and what a person can do; not in a list of stores


@dataclass(frozen=True)
class Load:
    """What waits at a daemon, and what hangs: of the daemon as a whole, and of one store, which has the last three. Work
    for a disk is stuck when it has gone on for 100 milliseconds without an end."""

    connections: int
    directory_requests: int
    disk_calls_waiting: int
    disk_calls_running: int
    disk_threads_max: int
    store_calls_waiting: int
    store_calls_stuck: int
    stuck_ms: int


@dataclass(frozen=True)
class WhoAmI:
    """Whom a daemon takes a client for, and what that client may do."""

    identity: str  # "token:NAME", "cert:NAME", "uid:NUMBER", "anyone"
    rights: List[str]  # of read, fork, write, create, remove, admin
    why: str  # for people: which rules give them


@dataclass(frozen=True)
class Home:
    """Where an image lies, and who may change it there."""

    name: str  # "file", or where other machines reach it, too: "ceph:POOL/NAME"
    holder: str  # for people: who owns it there, and since when; empty for a file
    health: str  # for people: what the home says of itself; empty for a file, or while that is not known
    epoch: int  # of the owner, grows with each; 0: there is none, or the image is open for reading only


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
    load: Optional[Load] = None  # an older daemon does not say
    recovery: Optional[Recovery] = None  # the last one since the daemon, or this program, began
    home: Optional[Home] = None  # an older daemon does not say


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
    recovery: Optional[Recovery] = None


@dataclass(frozen=True)
class SessionReport:
    """A connection to a daemon, and the session that it has or waits for. What is about a session is 0 or empty without
    one. Times are in milliseconds."""

    state: str  # greeting, front, opening, in_line, session, leaving, detached
    waits_for: str  # nothing, directory, store, lease, flush, room, disk, turn
    access: str
    view: str
    publish: str
    has_lease: bool
    lost_lease: bool
    kicked: bool
    connection_id: int
    session_id: int
    connected_ms: int
    opened_ms: int
    idle_ms: int
    epoch: int
    place_in_line: int
    held_version: int
    requests: int
    bytes_read: int
    bytes_written: int
    private_bytes: int
    unsent_bytes: int
    requests_in_flight: int
    request_ms: int
    peer_uid: Optional[int]  # of the process at the other end of a Unix socket
    peer_pid: Optional[int]
    store: str
    session_name: str
    client_name: str
    address: str


@dataclass(frozen=True)
class Kicked:
    """A session, or a connection, that was ended."""

    session: SessionReport  # as it was before
    released: bool  # all that it held is free; not so while a call to a disk does not come back


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


def recovery_of(found: Any) -> Optional[Recovery]:
    if not found:
        return None
    each = found.contents
    return Recovery(
        each.unix_ms, each.log_bytes, each.log_files, each.records, each.pages, each.dropped_files,
        each.dropped_records, each.kept_count, [_text(each.kept_files[i]) for i in range(each.count)],
        each.warned != 0, _text(each.warning),
    )  # fmt: skip


def who_am_i_of(found: Any) -> WhoAmI:
    rights = _text(found.rights_text)
    return WhoAmI(_text(found.identity), rights.split(", ") if found.rights else [], _text(found.why))


def load_of(found: Any) -> Load:
    return Load(
        found.connections, found.directory_requests, found.disk_calls_waiting, found.disk_calls_running,
        found.disk_threads_max, found.store_calls_waiting, found.store_calls_stuck, found.stuck_ms,
    )  # fmt: skip


def home_of(found: Any) -> Optional[Home]:
    if not found:
        return None
    each = found.contents
    return Home(_text(each.name), _text(each.holder), _text(each.health), each.epoch)


def stat_of(found: Any) -> Stat:
    return Stat(
        _text(found.store), found.pages, version_of(found.version), found.read_only != 0,
        holder_of(found.writer.contents) if found.writer else None, found.writers_waiting, found.sessions_live,
        found.sessions_pinned, found.sessions_write, found.sessions_fork,
        holder_of(found.oldest_holder.contents) if found.oldest_holder else None, found.size_bytes_max,
        found.log_bytes, found.checkpoint_lag_bytes, found.held_bytes, found.fork_bytes,
        _text(found.last_sync_error), _text(found.image_warning),
        load_of(found.load.contents) if found.load else None, recovery_of(found.recovery),
        home_of(found.home),
    )  # fmt: skip


def traffic_of(found: Any) -> Traffic:
    return Traffic(
        found.requests, found.round_trips, found.bytes_sent, found.bytes_received, found.cache_hits,
        found.cache_misses, found.pages_read_ahead, found.cache_bytes, found.cache_bytes_peak,
    )  # fmt: skip


def stores_of(found: Any) -> List[Store]:
    stores = (found.stores[i].contents for i in range(found.count))
    return [
        Store(_text(each.name), each.pages, each.read_only != 0, each.open != 0, recovery_of(each.recovery))
        for each in stores
    ]


def session_of(found: Any) -> SessionReport:
    known = found.peer_known != 0
    return SessionReport(
        _STATE.get(found.state, str(found.state)), _WAITS_FOR.get(found.waits_for, str(found.waits_for)),
        _ACCESS.get(found.access, ""), _VIEW.get(found.view, ""), _PUBLISH.get(found.publish, ""),
        found.has_lease != 0, found.lost_lease != 0, found.kicked != 0,
        found.connection_id, found.session_id, found.connected_ms, found.opened_ms, found.idle_ms, found.epoch,
        found.place_in_line, found.held_version, found.requests, found.bytes_read, found.bytes_written,
        found.private_bytes, found.unsent_bytes, found.requests_in_flight, found.request_ms,
        found.peer_uid if known else None, found.peer_pid if known else None,
        _text(found.store), _text(found.session_name), _text(found.client_name), _text(found.address),
    )  # fmt: skip


def sessions_of(found: Any) -> List[SessionReport]:
    return [session_of(found.sessions[i].contents) for i in range(found.count)]


def kicked_of(found: Any) -> Kicked:
    return Kicked(session_of(found.session.contents), found.released != 0)


def daemon_info_of(found: Any) -> DaemonInfo:
    return DaemonInfo(
        _text(found.name), found.protocol_version, found.request_bytes_max, found.requests_in_flight_max
    )
