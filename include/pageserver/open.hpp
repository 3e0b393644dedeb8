// From a URI to a provider: the one place where a program chooses between heap, file, daemon and embedded store.
#pragma once

#include <memory>
#include <string_view>

#include <pageserver/error.hpp>
#include <pageserver/memory_provider.hpp>
#include <pageserver/session.hpp>

namespace pageserver {

/// Opens what `uri` names:
///
///     pageserver://HOST[:PORT]/STORE[?access=read|write|fork&view=live|pinned&publish=on_write|on_flush&wait_ms=N&name=WHO]
///     pageserver+unix:///STORE?socket=PATH[&...]        default port 6553; default access write, publish on_write
///                                                       further keys of both:
///                                                       poll_us=auto|N&cache_bytes=SIZE&token_file=PATH&resume=SECONDS
///                                                       &transport=auto|socket
///     file:PATH[?access=read|write]                     access=read never creates the file and takes a shared lock
///     heap:                                             a new, empty image in this process
///     store:PATH[?access=...&publish=...]               the store engine in this process
///
/// A writer is what open() makes unless the URI says otherwise: the program then works the same on a file, in memory
/// and on a store, and one that can't have the only writer lease learns it here (busy, naming the holder) and not at
/// its first write. A program that only reads says access=read, or it keeps every writer out. docs/compatibility.md has
/// the reasons.
///
/// `poll_us` is how long, in microseconds (0 to 1000, 0 is off), a call looks for its answer before it sleeps;
/// `cache_bytes` the memory for a cache of pages: `off`, or bytes, with KiB, MiB or GiB where wanted; `resume` for how
/// long a lost connection is made again, 0 to 86400 seconds; `transport` whether a Unix socket's session may go through
/// shared memory. See RemoteOptions and RemoteProvider.
///
/// A text without a scheme is a plain path: `file:` with no percent-decoding and no query. Percent-encoding and IPv6
/// hosts (`[::1]`) are those of RFC 3986. Errors: invalid_argument quotes the part of the URI that is wrong;
/// unsupported where this build lacks the scheme; else what the provider throws on opening.
///
/// The provider belongs to this process: in a child after fork(2) every call of all but `heap:` throws connection_lost,
/// and the destructor closes descriptors and does nothing else.
PAGESERVER_EXPORT std::unique_ptr<MemoryProvider> open(std::string_view uri);

/// As open(), for URIs whose scheme has sessions (pageserver, pageserver+unix, store); unsupported for the others.
PAGESERVER_EXPORT std::unique_ptr<Session> open_session(std::string_view uri);

}  // namespace pageserver
