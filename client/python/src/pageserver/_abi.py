"""The C interface (pageserver.h) as ctypes sees it: structs, functions, and where the library is."""
import ctypes
import os
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    c_char_p,
    c_int,
    c_int32,
    c_int64,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
)
from typing import Any, Dict, List

ERROR_TEXT_BYTES = 1024


class CError(Structure):
    _fields_ = [("size", c_size_t), ("code", c_int), ("text", ctypes.c_char * ERROR_TEXT_BYTES)]


ERROR_BYTES = ctypes.sizeof(CError)


class COptions(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("access", c_int),
        ("view", c_int),
        ("publish", c_int),
        ("wait_ms", c_uint32),
        ("name", c_char_p),
        ("client_name", c_char_p),
        ("connect_timeout_ms", c_int64),
        ("request_timeout_ms", c_int64),
        ("poll_us", c_int32),
        ("cache_bytes", c_uint64),
        ("token", c_char_p),
        ("token_file", c_char_p),
        ("tls_ca", c_char_p),
        ("tls_certificate", c_char_p),
        ("tls_key", c_char_p),
        ("tls_name", c_char_p),
    ]


class CVersion(Structure):
    _fields_ = [("incarnation", c_uint64), ("number", c_uint64)]


class CRange(Structure):
    _fields_ = [("offset", c_uint64), ("length", c_uint64)]


class CRanges(Structure):
    _fields_ = [("size", c_size_t), ("described_until", c_uint64), ("count", c_size_t), ("ranges", POINTER(CRange))]


class CRefreshed(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("version", CVersion),
        ("pages", c_uint64),
        ("everything", c_int),
        ("count", c_size_t),
        ("changed", POINTER(CRange)),
    ]


class CHolder(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("name", c_char_p),
        ("address", c_char_p),
        ("since_unix_ms", c_int64),
        ("idle_ms", c_uint64),
        ("epoch", c_uint64),
        ("access", c_int),
        ("view", c_int),
        ("publish", c_int),
        ("version_number", c_uint64),
    ]


class CRecovery(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("unix_ms", c_int64),
        ("log_bytes", c_uint64),
        ("log_files", c_uint64),
        ("records", c_uint64),
        ("pages", c_uint64),
        ("dropped_files", c_uint64),
        ("dropped_records", c_uint64),
        ("kept_count", c_uint64),
        ("count", c_size_t),
        ("kept_files", POINTER(c_char_p)),
        ("warned", c_int),
        ("warning", c_char_p),
    ]


class CLoad(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("connections", c_uint64),
        ("directory_requests", c_uint64),
        ("disk_calls_waiting", c_uint64),
        ("disk_calls_running", c_uint64),
        ("disk_threads_max", c_uint64),
        ("store_calls_waiting", c_uint64),
        ("store_calls_stuck", c_uint64),
        ("stuck_ms", c_uint64),
    ]


class CHome(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("name", c_char_p),
        ("holder", c_char_p),
        ("health", c_char_p),
        ("epoch", c_uint64),
    ]


class CStat(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("store", c_char_p),
        ("pages", c_uint64),
        ("version", CVersion),
        ("read_only", c_int),
        ("writer", POINTER(CHolder)),
        ("writers_waiting", c_uint64),
        ("sessions_live", c_uint64),
        ("sessions_pinned", c_uint64),
        ("sessions_write", c_uint64),
        ("sessions_fork", c_uint64),
        ("oldest_holder", POINTER(CHolder)),
        ("size_bytes_max", c_uint64),
        ("log_bytes", c_uint64),
        ("checkpoint_lag_bytes", c_uint64),
        ("held_bytes", c_uint64),
        ("fork_bytes", c_uint64),
        ("last_sync_error", c_char_p),
        ("image_warning", c_char_p),
        ("load", POINTER(CLoad)),
        ("recovery", POINTER(CRecovery)),
        ("home", POINTER(CHome)),
    ]


class CTraffic(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("requests", c_uint64),
        ("round_trips", c_uint64),
        ("bytes_sent", c_uint64),
        ("bytes_received", c_uint64),
        ("cache_hits", c_uint64),
        ("cache_misses", c_uint64),
        ("pages_read_ahead", c_uint64),
        ("cache_bytes", c_uint64),
        ("cache_bytes_peak", c_uint64),
    ]


class CStore(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("name", c_char_p),
        ("pages", c_uint64),
        ("read_only", c_int),
        ("open", c_int),
        ("recovery", POINTER(CRecovery)),
    ]


class CStores(Structure):
    _fields_ = [("size", c_size_t), ("count", c_size_t), ("stores", POINTER(POINTER(CStore)))]


class CSessionReport(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("state", c_int),
        ("waits_for", c_int),
        ("access", c_int),
        ("view", c_int),
        ("publish", c_int),
        ("peer_known", c_int),
        ("has_lease", c_int),
        ("lost_lease", c_int),
        ("kicked", c_int),
        ("connection_id", c_uint64),
        ("session_id", c_uint64),
        ("connected_ms", c_uint64),
        ("opened_ms", c_uint64),
        ("idle_ms", c_uint64),
        ("epoch", c_uint64),
        ("place_in_line", c_uint64),
        ("held_version", c_uint64),
        ("requests", c_uint64),
        ("bytes_read", c_uint64),
        ("bytes_written", c_uint64),
        ("private_bytes", c_uint64),
        ("unsent_bytes", c_uint64),
        ("requests_in_flight", c_uint32),
        ("peer_uid", c_uint32),
        ("peer_pid", c_uint32),
        ("request_ms", c_uint32),
        ("store", c_char_p),
        ("session_name", c_char_p),
        ("client_name", c_char_p),
        ("address", c_char_p),
    ]


class CSessions(Structure):
    _fields_ = [("size", c_size_t), ("count", c_size_t), ("sessions", POINTER(POINTER(CSessionReport)))]


class CKicked(Structure):
    _fields_ = [("size", c_size_t), ("session", POINTER(CSessionReport)), ("released", c_int)]


class CIdentity(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("identity", c_char_p),
        ("rights", c_uint32),
        ("rights_text", c_char_p),
        ("why", c_char_p),
    ]


class CDaemonInfo(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("name", c_char_p),
        ("protocol_version", c_uint32),
        ("request_bytes_max", c_uint32),
        ("requests_in_flight_max", c_uint32),
    ]


class CView(Structure):
    _fields_ = [("size", c_size_t), ("pages", c_uint64), ("version", CVersion)]


class CInterest(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("descriptor", c_int),
        ("events", c_int),
        ("timeout_ms", c_int),
        ("has_room", c_int),
        ("outstanding", c_size_t),
    ]


class COpened(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("pages", c_uint64),
        ("version", CVersion),
        ("request_bytes_max", c_uint32),
        ("can_zero", c_int),
        ("can_find_data", c_int),
        ("can_commit", c_int),
    ]


Done = CFUNCTYPE(None, c_void_p, POINTER(CError))
PagesDone = CFUNCTYPE(None, c_void_p, POINTER(CError), c_uint64)
ViewDone = CFUNCTYPE(None, c_void_p, POINTER(CError), POINTER(CView))
RefreshedDone = CFUNCTYPE(None, c_void_p, POINTER(CError), POINTER(CRefreshed))
RangesDone = CFUNCTYPE(None, c_void_p, POINTER(CError), POINTER(CRanges))
StatDone = CFUNCTYPE(None, c_void_p, POINTER(CError), POINTER(CStat))
HolderDone = CFUNCTYPE(None, c_void_p, POINTER(CError), POINTER(CHolder))

_ERROR = POINTER(CError)
_HANDLE = c_void_p
# Of each function that answers a code: what stands before its last parameter, the error.
_FUNCTIONS: Dict[str, List[Any]] = {
    "ps_session_open": [c_char_p, POINTER(COptions), POINTER(_HANDLE)],
    "ps_session_end": [_HANDLE],
    "ps_session_atomic_write_bytes": [_HANDLE, POINTER(c_uint64)],
    "ps_session_commit": [_HANDLE],
    "ps_session_size": [_HANDLE, POINTER(c_uint64)],
    "ps_session_pages": [_HANDLE, POINTER(c_uint64)],
    "ps_session_grow": [_HANDLE, c_uint64, POINTER(c_uint64)],
    "ps_session_read": [_HANDLE, c_uint64, c_void_p, c_size_t],
    "ps_session_write": [_HANDLE, c_uint64, c_void_p, c_size_t],
    "ps_session_flush": [_HANDLE],
    "ps_session_version": [_HANDLE, POINTER(CVersion)],
    "ps_session_refresh": [_HANDLE, POINTER(POINTER(CRefreshed))],
    "ps_session_discard": [_HANDLE],
    "ps_session_break_lease": [_HANDLE, c_uint64, POINTER(POINTER(CHolder))],
    "ps_session_lost": [_HANDLE],
    "ps_session_stat": [_HANDLE, POINTER(POINTER(CStat))],
    "ps_session_zero": [_HANDLE, c_uint64, c_uint64],
    "ps_session_data_ranges": [_HANDLE, c_uint64, c_uint64, POINTER(POINTER(CRanges))],
    "ps_session_traffic": [_HANDLE, POINTER(CTraffic)],
    "ps_daemon_open": [c_char_p, POINTER(COptions), POINTER(_HANDLE)],
    "ps_daemon_ping": [_HANDLE, POINTER(c_uint64)],
    "ps_daemon_describe": [_HANDLE, POINTER(POINTER(CDaemonInfo))],
    "ps_daemon_list": [_HANDLE, POINTER(POINTER(CStores))],
    "ps_daemon_create": [_HANDLE, c_char_p, c_uint64],
    "ps_daemon_remove": [_HANDLE, c_char_p],
    "ps_daemon_sessions": [_HANDLE, c_char_p, POINTER(POINTER(CSessions))],
    "ps_daemon_whoami": [_HANDLE, c_char_p, POINTER(POINTER(CIdentity))],
    "ps_daemon_load": [_HANDLE, c_char_p, POINTER(POINTER(CLoad))],
    "ps_daemon_kick": [_HANDLE, c_int, c_uint64, c_char_p, POINTER(POINTER(CKicked))],
    "ps_daemon_break_lease": [_HANDLE, c_char_p, c_uint64, POINTER(POINTER(CHolder))],
    "ps_async_open": [c_char_p, POINTER(COptions), POINTER(_HANDLE)],
    "ps_async_read": [_HANDLE, c_uint64, c_void_p, c_size_t, Done, c_void_p],
    "ps_async_write": [_HANDLE, c_uint64, c_void_p, c_size_t, Done, c_void_p],
    "ps_async_zero": [_HANDLE, c_uint64, c_uint64, Done, c_void_p],
    "ps_async_grow": [_HANDLE, c_uint64, PagesDone, c_void_p],
    "ps_async_flush": [_HANDLE, c_uint64, Done, c_void_p],
    "ps_async_commit": [_HANDLE, c_uint64, Done, c_void_p],
    "ps_async_end": [_HANDLE, c_uint64, Done, c_void_p],
    "ps_async_discard": [_HANDLE, Done, c_void_p],
    "ps_async_refresh": [_HANDLE, RefreshedDone, c_void_p],
    "ps_async_size": [_HANDLE, ViewDone, c_void_p],
    "ps_async_data_ranges": [_HANDLE, c_uint64, c_uint64, RangesDone, c_void_p],
    "ps_async_stat": [_HANDLE, StatDone, c_void_p],
    "ps_async_break_lease": [_HANDLE, c_uint64, HolderDone, c_void_p],
    "ps_async_on_lost": [_HANDLE, Done, c_void_p],
    "ps_async_interest": [_HANDLE, POINTER(CInterest)],
    "ps_async_opened": [_HANDLE, POINTER(COpened)],
    "ps_async_dispatch": [_HANDLE, POINTER(c_size_t)],
}
_FREEING = {
    "ps_session_close": c_void_p,
    "ps_daemon_close": c_void_p,
    "ps_async_close": c_void_p,
    "ps_ranges_free": POINTER(CRanges),
    "ps_refreshed_free": POINTER(CRefreshed),
    "ps_holder_free": POINTER(CHolder),
    "ps_stat_free": POINTER(CStat),
    "ps_stores_free": POINTER(CStores),
    "ps_load_free": POINTER(CLoad),
    "ps_sessions_free": POINTER(CSessions),
    "ps_kicked_free": POINTER(CKicked),
    "ps_identity_free": POINTER(CIdentity),
    "ps_daemon_info_free": POINTER(CDaemonInfo),
}


def _load() -> ctypes.CDLL:
    bundled = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib", "libpageserver.so.1")
    named = os.environ.get("PAGESERVER_LIBRARY")
    path = named or (bundled if os.path.exists(bundled) else "libpageserver.so.1")
    try:
        library = ctypes.CDLL(path)  # lets go of the interpreter's lock while a call is inside
    except OSError as error:
        raise ImportError(
            f"pageserver: can't load {path}: {error}. Install the C library of pageserver (cmake --install, then "
            "ldconfig), take a wheel that carries it, or name the file in PAGESERVER_LIBRARY"
        ) from None
    for name, parameters in _FUNCTIONS.items():
        function = getattr(library, name)
        function.argtypes = [*parameters, _ERROR]
        function.restype = c_int
    for name, parameter in _FREEING.items():
        function = getattr(library, name)
        function.argtypes = [parameter]
        function.restype = None
    library.ps_version.argtypes = []
    library.ps_version.restype = c_char_p
    library.ps_code_name.argtypes = [c_int]
    library.ps_code_name.restype = c_char_p
    return library


lib = _load()
