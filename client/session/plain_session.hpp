// A remote session without a cache: calls of any size become requests.
//
// A call larger than the daemon's request limit becomes several requests that are in flight together; the session's
// other calls take effect before or after all of them (SharedConnection::run). Completions run under the connection's
// lock, on whichever thread drives it, and note there what the session knows of its image.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "client/session/known_image.hpp"
#include "client/session/remote_session.hpp"
#include "client/wire/shared_connection.hpp"

namespace pageserver::client {

class PlainSession final : public RemoteSession {
public:
  explicit PlainSession(RemoteOptions options);

  std::uint64_t pages() override;
  std::uint64_t grow(std::uint64_t new_pages) override;
  void read(std::uint64_t offset, std::span<std::byte> buffer) override;
  void write(std::uint64_t offset, std::span<const std::byte> data) override;
  std::uint64_t atomic_write_bytes() const override { return request_bytes_max_; }
  void flush() override;
  Version version() override;
  Refreshed refresh() override;
  void discard() override;
  std::optional<HolderStat> break_lease(std::uint64_t epoch) override;
  std::optional<MemoryError> lost() override;
  int socket() const noexcept override { return is_forked() ? -1 : shared_.connection().socket(); }
  Stat stat() override;
  void zero(std::uint64_t offset, std::uint64_t length) override;
  std::vector<ByteRange> data_ranges(std::uint64_t offset, std::uint64_t length) override;
  RemoteTraffic traffic() override;
  std::vector<OrderedFault> faults(const proto::FaultsRequest& message) override;
  void check_usable() override;
  void end() override;
  void close() noexcept override;
  void abandon() noexcept override { shared_.connection().abandon(); }
  bool is_forked() const noexcept override { return shared_.is_forked(); }

  // For a cache in front of this session.
  /// lost(), as far as it is known: takes nothing in.
  std::optional<MemoryError> known_loss();
  const RemoteOptions& options() const { return options_; }
  SharedConnection& shared() { return shared_; }
  const ServerInfo& server() const { return shared_.connection().server(); }
  /// For a caller that lets one thread at a time into the session: its own lock then stands for the connection's.
  KnownImage& known() PAGESERVER_NO_THREAD_SAFETY_ANALYSIS { return known_; }
  const KnownImage& known() const PAGESERVER_NO_THREAD_SAFETY_ANALYSIS { return known_; }
  /// What a grow of the pages that the daemon does not know of yet, or of more, must not answer.
  proto::Decoded check_previous_pages(const proto::GrowAnswer& answer) const PAGESERVER_NO_THREAD_SAFETY_ANALYSIS;
  /// The pages and version of the session's view, from the daemon.
  proto::SizeAnswer ask_size();
  void refuse_readers(std::string_view action) const;
  /// Throws out_of_bounds in the words of the local providers, after the store's name.
  void check_bounds(std::string_view action, std::uint64_t offset, std::uint64_t length, std::uint64_t pages) const;
  /// Submits one request for each part of at most request_bytes_max bytes, and adds them to the batch.
  void submit_reads(Connection& connection, Batch& batch, std::uint64_t offset, std::span<std::byte> buffer) const;
  void submit_writes(Connection& connection, Batch& batch, std::uint64_t offset, std::span<const std::byte> data) const;

private:
  /// `check` says what is wrong with an answer, which ends the connection; `use` gets one that is right.
  template <class Request, class Check, class Use>
  void request(const Request& message, Check check, Use use);
  /// As request(), of a request that changes how many pages there are: see KnownImage::can_tell().
  template <class Request, class Check, class Use>
  void resize(const Request& message, Check check, Use use);
  void check_known_bounds(std::string_view action, std::uint64_t offset, std::uint64_t length) const
      PAGESERVER_REQUIRES(shared_.mutex());
  [[noreturn]] void fail(Errc code, std::string_view message) const;
  void read_split_live(std::uint64_t offset, std::span<std::byte> buffer);
  void write_zeros(std::uint64_t offset, std::uint64_t length);

  const RemoteOptions options_;
  SharedConnection shared_;
  const std::size_t request_bytes_max_;
  KnownImage known_ PAGESERVER_GUARDED_BY(shared_.mutex());
};

}  // namespace pageserver::client
