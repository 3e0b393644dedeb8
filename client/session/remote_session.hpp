// The session behind RemoteProvider: calls of any size to requests, what is known here without asking, errors.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include <pageserver/remote_provider.hpp>

#include "client/wire/shared_connection.hpp"

namespace pageserver::client {

/// Contracts as in session.hpp and remote_provider.hpp.
class RemoteSession {
public:
  explicit RemoteSession(RemoteOptions options);
  RemoteSession(const RemoteSession&) = delete;
  RemoteSession& operator=(const RemoteSession&) = delete;
  virtual ~RemoteSession() = default;

  virtual std::uint64_t pages(std::string_view action);
  virtual std::uint64_t grow(std::uint64_t new_pages);
  virtual void read(std::uint64_t offset, std::span<std::byte> buffer);
  virtual void write(std::uint64_t offset, std::span<const std::byte> data);
  virtual void flush();
  virtual Version version();
  virtual Refreshed refresh();
  virtual void discard();
  virtual Stat stat();
  virtual void zero(std::uint64_t offset, std::uint64_t length);
  virtual std::vector<ByteRange> data_ranges(std::uint64_t offset, std::uint64_t length);
  virtual RemoteTraffic traffic();

  /// Tells the daemon that the session is over and waits a second for its answer. Throws nothing.
  void close() noexcept;
  /// For the child after fork(2): lets go of the socket and says nothing.
  void abandon() noexcept { shared_.connection().abandon(); }
  bool is_forked() const noexcept { return shared_.is_forked(); }

protected:
  template <class Request, class Use>
  void request(const Request& message, Use use);
  /// The pages and version of the session's view, from the daemon.
  proto::SizeAnswer ask_size();

  void refuse_readers(std::string_view action) const;
  /// Throws out_of_bounds in the words of the local providers, after the store's name.
  void check_bounds(std::string_view action, std::uint64_t offset, std::uint64_t length, std::uint64_t pages) const;
  void check_known_bounds(std::string_view action, std::uint64_t offset, std::uint64_t length);
  [[noreturn]] void fail(Errc code, std::string_view message) const;

  void submit_reads(Connection& connection, Batch& batch, std::uint64_t offset, std::span<std::byte> buffer) const;
  void submit_writes(Connection& connection, Batch& batch, std::uint64_t offset, std::span<const std::byte> data) const;

  const RemoteOptions options_;
  SharedConnection shared_;
  std::size_t request_bytes_max_ = 0;

  // Under the lock of shared_: they change in completions. Only a writer, a fork or a pin knows its pages, since
  // nobody else changes them; a flush that failed leaves them open to question.
  bool pages_known_ = false;
  std::uint64_t pages_ = 0;
  std::uint64_t unsent_pages_ = 0;  // of them, those that the daemon was not told of: only a cache keeps some back
  std::uint64_t size_bytes_max_ = 0;
  Version held_;  // the version that a pin or a fork holds

private:
  void read_split_live(std::uint64_t offset, std::span<std::byte> buffer);
  void write_zeros(std::uint64_t offset, std::uint64_t length);
};

/// The session that `options` ask for: with a cache where one was asked for and the session's rights make it coherent.
std::unique_ptr<RemoteSession> make_remote_session(RemoteOptions options);

/// Ends a session at the end of its provider: closes it, or in a child after fork(2) leaves it to the parent.
void end_session(std::unique_ptr<RemoteSession> session) noexcept;

}  // namespace pageserver::client
