// A session on a store that a daemon serves, over TCP or a Unix socket.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <pageserver/session.hpp>

namespace pageserver {

/// Where a store is and how to open it. The URI forms of open.hpp are another way to write the same.
/// One more address at which the store may be served.
struct RemoteHost {
  std::string host;  ///< name or address
  std::uint16_t port = 6553;
};

struct RemoteOptions {
  std::string host;  ///< name or address; empty with `socket_path`
  std::uint16_t port = 6553;
  std::string socket_path;  ///< Unix socket; empty for TCP
  std::string store;
  Access access = Access::write;
  View view = View::live;
  Publish publish = Publish::on_write;
  std::uint32_t wait_ms = 0;  ///< how long to wait in line for the writer lease
  std::string name;           ///< what this session calls itself towards others; empty: program name and pid
  std::string client_name;    ///< program and version, for the daemon's log; empty: the library's
  /// Name resolution, all addresses, hello and open together (wait_ms on top). 0, like the largest number, means that
  /// there is no limit; below zero is invalid_argument. The same for request_timeout.
  std::chrono::milliseconds connect_timeout{10'000};
  /// One request, until its last byte was received; counted from when it is the oldest one without an answer, since
  /// before the daemon was at work on those sent earlier.
  std::chrono::milliseconds request_timeout{60'000};
  /// For how many microseconds at most a call looks for its answer before it sleeps, 0 to 1000. It does so only while
  /// answers come that soon, and never between calls. Empty: the library's own choice, which is 0 where the process
  /// may use one processor only (by affinity or by the quota of a cgroup).
  std::optional<std::uint32_t> poll_us;
  /// A file with the token that says who this client is, readable by its owner alone (and a group); empty: none.
  /// Without one the environment's PAGESERVER_TOKEN is taken. A token is sent only over TLS, a Unix socket or to this
  /// machine's loopback: elsewhere the constructor throws permission_denied.
  std::string token_file;
  std::string token;  ///< the token itself; wins over the file
  /// Memory for a cache of pages, in bytes; 0: none. See RemoteProvider. Less than two pages (131,072) is none either.
  std::uint64_t cache_bytes = 0;
  /// For how long a lost connection is made again, in seconds; 0: not at all. The daemon keeps the session for its
  /// `resume_linger`, and carries out each request once: calls take longer, and return what they would have. Past the
  /// time they throw connection_lost, whose text says which requests are known to be done. A program that is between
  /// two calls notices nothing, and has to make the next one before the daemon's time is over. The constructor throws
  /// unsupported where the daemon keeps no sessions. A session that is neither closed nor resumed keeps its lease for
  /// the daemon's time. See docs/clients.md.
  std::chrono::seconds resume{0};
  /// Over a Unix socket, and where both ends poll: through memory that is shared with the daemon. A call that finds its
  /// answer while it polls then takes no system call. Where the daemon has none to give the socket does it all; so it
  /// does where this is false (`transport=socket`).
  bool shared_memory = true;
  /// Faults that the daemon is to strike this session with, from its first request on, in the text form of
  /// PROTOCOL.md: "write:3:no_space,flush:delay=50ms". For tests: the daemon has to run with --allow-faults, else the
  /// constructor throws unsupported. invalid_argument says what is wrong with the text, and where.
  std::string faults;
  /// TLS 1.3 to `host`, whose certificate is verified, chain and name: the constructor throws connection_lost, saying
  /// why, where that fails. `port` is then 6554 by default of a daemon, and has to be set.
  bool tls = false;
  std::string tls_ca;           ///< PEM file with authorities to believe; empty: those of the system
  std::string tls_certificate;  ///< PEM file, for a daemon that wants one of its clients; empty: none
  std::string tls_key;          ///< PEM file with its private key, readable by its owner alone (and a group)
  std::string tls_name;         ///< that the daemon's certificate has to have; empty: `host`
  /// Behind `host`: daemons of which one serves the store, the others stand by. The first one that serves it is taken,
  /// within connect_timeout; while one says that another has the store they are asked again. With `resume` a lost
  /// connection is made again to whichever serves then. Where none does: the error names each and why.
  std::vector<RemoteHost> other_hosts;
};

/// What a session has cost so far, counted since it was opened.
struct RemoteTraffic {
  std::uint64_t requests = 0;
  std::uint64_t round_trips = 0;       ///< calls, or parts of calls, that had to wait for the daemon
  std::uint64_t bytes_sent = 0;        ///< frames as a whole
  std::uint64_t bytes_received = 0;    ///< likewise
  std::uint64_t cache_hits = 0;        ///< pages that a read found in the cache
  std::uint64_t cache_misses = 0;      ///< pages fetched because a call needed them
  std::uint64_t pages_read_ahead = 0;  ///< pages fetched before anybody needed them
  std::uint64_t cache_bytes = 0;       ///< memory that the cache's pages take now
  std::uint64_t cache_bytes_peak = 0;  ///< the most that it was
};

/// Whom an order of faults is for.
enum class FaultScope : std::uint8_t {
  session = 0,  ///< the session that orders it, for as long as it lasts
  store = 1,    ///< each session of its store, until it is cleared; takes the right admin
};

/// A fault on order, and what has come of it.
struct OrderedFault {
  std::string order;         ///< as it was ordered: "write:3:no_space"
  std::uint64_t seen = 0;    ///< requests that matched
  std::uint64_t struck = 0;  ///< of these, so many were struck; 0: a test that counts on the fault has tested nothing
};

/// Speaks the protocol of proto/PROTOCOL.md, blocking. Writes larger than the server's limit, which
/// atomic_write_bytes() says, are split, each part atomic by itself; so are reads. Without `resume` it never
/// reconnects and never sends anything twice: after connection_lost, timed_out or protocol_error every call throws that
/// error again, since what was not answered may or may not have been applied. The same holds in a child after fork(2),
/// whose first call throws connection_lost saying so. A writer's and a fork's size() and pages() cost no round trip.
/// Every error's text names server, store and operation.
///
/// The cache (`cache_bytes`) keeps pages where nobody else can change what the session sees: for a writer, a pinned
/// reader and a fork. For a live reader it is off by itself, since its every read sees the newest version. Pages are
/// read ahead when reads run forward. A writer with publish on_write sends each write before the call returns, from the
/// first byte that differs to the last; one that changes nothing is not sent. With on_flush, and in a fork, written
/// bytes and grown pages stay here until flush() or until the cache needs room, and only what differs from the page as
/// it was is sent, together with the flush in one round trip where the daemon has the operation `commit`. An error that
/// the daemon would have answered to the write (no_space, limit_exceeded, snapshot_too_old) is then thrown by the
/// flush, or by whatever call needed the room, and nothing is lost by it. A write of several pages that needed it may
/// have been made in part, page by page, so that atomic_write_bytes() is page_size there; others still see all of a
/// transaction or nothing. out_of_bounds and read_only are thrown at once. After the daemon's notice
/// that the lease is lost no call is served from the cache: it looks for one at least every 2 ms. A refresh drops what
/// it found changed. Calls of several threads then run one after the other.
///
/// Threads: several may be inside at once, with all their requests in flight; split calls take effect one after the
/// other, each as a whole as far as this session's own calls are concerned. Destroying and moving are for one thread.
class PAGESERVER_EXPORT RemoteProvider final : public Session {
public:
  /// Connects, says hello and opens the session. Throws busy (someone else writes; the text names them), not_found,
  /// timed_out, connection_lost (nobody listens), protocol_error, unsupported, limit_exceeded, invalid_argument.
  explicit RemoteProvider(RemoteOptions options);
  RemoteProvider(RemoteProvider&&) noexcept;
  RemoteProvider& operator=(RemoteProvider&&) noexcept;
  /// As close(), but waits a second at most for the daemon's word, and says nothing of what went wrong.
  ~RemoteProvider() override;

  std::uint64_t size() override;
  std::uint64_t pages() override;
  std::uint64_t grow(std::uint64_t new_pages) override;
  void read(std::uint64_t offset, std::span<std::byte> buffer) override;
  void write(std::uint64_t offset, std::span<const std::byte> data) override;
  std::uint64_t atomic_write_bytes() override;
  void flush() override;
  /// Waits until the daemon confirmed that the session is over, for request_timeout at most. After a lost lease that is
  /// no error. Throws connection_lost or timed_out where that could not be learned: the daemon then releases the
  /// session when it finds the connection gone.
  void close() override;

  Version version() override;
  Refreshed refresh() override;
  void discard() override;
  void commit() override;
  std::optional<HolderStat> break_lease(std::uint64_t epoch = 0) override;
  std::optional<MemoryError> lost() override;
  Stat stat() override;
  void zero(std::uint64_t offset, std::uint64_t length) override;
  std::vector<ByteRange> data_ranges(std::uint64_t offset, std::uint64_t length) override;

  /// For an event loop that wants to hear at once when lost() has something to say: readable when the daemon has said
  /// something, and then lost() takes it in. Nothing else may be done with it. -1 in a child after fork(2), and after
  /// close().
  int socket() const noexcept;

  /// Orders faults, in the text form of PROTOCOL.md, and returns all that are ordered in that scope. Itself it is never
  /// struck. Throws unsupported where the daemon was not started with --allow-faults, invalid_argument for a text that
  /// is wrong, saying where, limit_exceeded for more than 32 orders, permission_denied.
  std::vector<OrderedFault> order_faults(std::string_view orders, FaultScope scope = FaultScope::session);
  /// What is ordered, and how often it struck.
  std::vector<OrderedFault> faults(FaultScope scope = FaultScope::session);
  /// Nothing is ordered any more; returns what was.
  std::vector<OrderedFault> clear_faults(FaultScope scope = FaultScope::session);

  /// What the session has cost so far; costs no round trip.
  RemoteTraffic traffic();

private:
  class Impl;
  Impl& impl() const;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pageserver
