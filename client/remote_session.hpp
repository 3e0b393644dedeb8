// The session behind RemoteProvider: calls of any size to requests, what is known here without asking, errors.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include <pageserver/remote_provider.hpp>

#include "client/shared_connection.hpp"

namespace pageserver::client {

/// Contracts as in session.hpp and remote_provider.hpp.
class RemoteSession {
public:
  explicit RemoteSession(RemoteOptions options);
  RemoteSession(const RemoteSession&) = delete;
  RemoteSession& operator=(const RemoteSession&) = delete;

  std::uint64_t pages(std::string_view action);
  std::uint64_t grow(std::uint64_t new_pages);
  void read(std::uint64_t offset, std::span<std::byte> buffer);
  void write(std::uint64_t offset, std::span<const std::byte> data);
  void flush();
  Version version();
  Refreshed refresh();
  void discard();
  Stat stat();
  void zero(std::uint64_t offset, std::uint64_t length);
  std::vector<ByteRange> data_ranges(std::uint64_t offset, std::uint64_t length);

  /// Tells the daemon that the session is over and waits a second for its answer. Throws nothing.
  void close() noexcept;
  /// For the child after fork(2): lets go of the socket and says nothing.
  void abandon() noexcept { shared_.connection().abandon(); }
  bool is_forked() const noexcept { return shared_.is_forked(); }

private:
  template <class Request, class Use>
  void request(const Request& message, Use use);
  /// The pages and version of the session's view, from the daemon.
  proto::SizeAnswer ask_size();

  void open(Deadline deadline);
  void refuse_readers(std::string_view action) const;
  /// Throws out_of_bounds in the words of the local providers, after the store's name.
  void check_bounds(std::string_view action, std::uint64_t offset, std::uint64_t length, std::uint64_t pages) const;
  void check_known_bounds(std::string_view action, std::uint64_t offset, std::uint64_t length);
  [[noreturn]] void fail(Errc code, std::string_view message) const;

  void submit_reads(Connection& connection, Batch& batch, std::uint64_t offset, std::span<std::byte> buffer) const;
  void submit_writes(Connection& connection, Batch& batch, std::uint64_t offset, std::span<const std::byte> data) const;
  void read_split_live(std::uint64_t offset, std::span<std::byte> buffer);
  void write_zeros(std::uint64_t offset, std::uint64_t length);

  const RemoteOptions options_;
  SharedConnection shared_;
  std::size_t request_bytes_max_ = 0;

  // Under the lock of shared_: they change in completions. Only a writer, a fork or a pin knows its pages, since
  // nobody else changes them; a flush that failed leaves them open to question.
  bool pages_known_ = false;
  std::uint64_t pages_ = 0;
  Version held_;  // the version that a pin or a fork holds
};

/// Ends a session at the end of its provider: closes it, or in a child after fork(2) leaves it to the parent.
template <class Derived>
void end_session(std::unique_ptr<Derived> session) noexcept;

/// Keeps what a child after fork(2) must not destroy: its mutex may be locked by a thread that is not there.
void keep_for_ever(void* object) noexcept;

template <class Derived>
void end_session(std::unique_ptr<Derived> session) noexcept {
  if (!session->is_forked()) {
    session->close();
    return;
  }
  session->abandon();
  keep_for_ever(session.release());
}

}  // namespace pageserver::client
