// A remote session with a cache of pages: what it has to ask the daemon, and when.
#pragma once

#include <mutex>
#include <optional>

#include "client/session/page_cache.hpp"
#include "client/session/remote_session.hpp"

namespace pageserver::client {

/// Contracts as in session.hpp and remote_provider.hpp. Not for live readers.
///
/// Two ways to write. Through (a writer with publish on_write): the daemon is told first, then the pages. Back
/// (on_flush, fork): the pages are told, and the daemon when the transaction is flushed, when room is needed, or when
/// whole pages are written one after the other. What it is told then is private there, so that a flush still publishes
/// all or nothing.
class CachedSession final : public RemoteSession {
public:
  explicit CachedSession(RemoteOptions options);

  std::uint64_t pages(std::string_view action) override;
  std::uint64_t grow(std::uint64_t new_pages) override;
  void read(std::uint64_t offset, std::span<std::byte> buffer) override;
  void write(std::uint64_t offset, std::span<const std::byte> data) override;
  void flush() override;
  Version version() override;
  Refreshed refresh() override;
  void discard() override;
  Stat stat() override;
  void zero(std::uint64_t offset, std::uint64_t length) override;
  std::vector<ByteRange> data_ranges(std::uint64_t offset, std::uint64_t length) override;
  RemoteTraffic traffic() override;

private:
  using Page = CachedPage;
  /// A part of a call that lies within one page.
  struct Piece {
    std::uint64_t page;
    std::size_t begin;
    std::size_t length;
  };
  static Piece piece_at(std::uint64_t offset, std::size_t length);

  std::unique_lock<std::mutex> enter(proto::Operation operation);
  /// Sees what the daemon has said meanwhile, when the last look is too old, and throws as a request would.
  void look_if_due(proto::Operation operation);
  void check_call(proto::Operation operation, std::uint64_t offset, std::uint64_t length);
  std::uint64_t sent_pages() const { return pages_ - unsent_pages_; }

  // What comes in.
  void read_cached(std::uint64_t offset, std::span<std::byte> buffer);
  void read_past_cache(std::uint64_t offset, std::span<std::byte> buffer);
  /// The page, complete. It stays until the next call that makes room.
  Page& bring(std::uint64_t number);
  /// Fetches those pages of [first, last] that are not here, in one round trip. Returns how many.
  std::size_t fetch(std::uint64_t first, std::uint64_t last);
  std::vector<Page*> make_loadable(std::uint64_t first, std::uint64_t last);
  void submit_load(Connection& connection, Page& page, Batch* waiter);
  void end_load(Page& page, const MemoryError* error) noexcept;
  /// Waits until no request has the page.
  void wait_for(Page& page);
  /// Waits for every read, and every page sent ahead, that is under way.
  void drain() noexcept;
  void read_ahead(std::uint64_t page);
  /// How many pages to ask for before they are needed.
  std::uint64_t ahead_window();

  // What goes out.
  void write_through(std::uint64_t offset, std::span<const std::byte> data);
  void write_back(const Piece& piece, const std::byte* data);
  void begin_page(const Piece& piece, const std::byte* data);
  /// Writes go forward: the page before `page`, if it was written whole and is not needed to tell what differs, goes
  /// out now, so that a flush has less to wait for.
  void send_before(std::uint64_t page);
  void end_send(Page& page, const MemoryError* error) noexcept;
  /// A commit that goes out with the changes before it, in one round trip.
  struct Commit {
    bool sent = false;  // there were changes to send with it, or on their way
    std::optional<MemoryError> error;
  };
  /// Sends grown pages and what differs in `pages`, and waits. On an error what was not taken is sent again later, and
  /// of it `commit` says nothing: the daemon publishes nothing behind a change that it refused.
  void send(const std::vector<Page*>& pages, Commit* commit = nullptr);
  void send_all() { send(cache_.dirty()); }
  struct Sending {
    Page* page;
    std::vector<PageRange> ranges;
    std::size_t left;
  };
  void submit_ranges(Connection& connection, Batch& batch, Sending& sending);
  void make_room(std::size_t buffers, const Page* keep);

  const bool writes_back_;
  std::size_t chunk_pages_;  // how much one call brings in, or reads ahead
  std::mutex mutex_;         // all of what follows, and what the base has; held while the daemon is waited for
  PageCache cache_;
  Deadline looked_at_{};
  std::size_t loads_ = 0;  // reads into pages, and pages sent ahead, that are under way
  Batch* drain_ = nullptr;
  std::uint64_t last_whole_ = ~std::uint64_t{0};  // page that was last written to its end, not having been read
  std::uint64_t last_read_ = ~std::uint64_t{0};   // page
  unsigned forward_ = 0;                          // how often in a row a read went on to the next page
  std::uint64_t ahead_until_ = 0;                 // page
  RemoteTraffic counted_;
};

}  // namespace pageserver::client
