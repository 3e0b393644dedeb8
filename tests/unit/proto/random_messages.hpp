// Messages with random values that the protocol allows.
#pragma once

#include <deque>
#include <random>
#include <string>

#include "proto/codec.hpp"

namespace pageserver::proto::test {

/// Owns the texts and bytes of the messages that it filled; the same seed gives the same messages.
class RandomMessages {
public:
  explicit RandomMessages(std::uint64_t seed) : random_(seed) {}

  void fill(HelloRequest& m);
  void fill(HelloAnswer& m);
  void fill(PingRequest& m) { m.echo = bytes(ping_bytes_max); }
  void fill(PingAnswer& m) { m.echo = bytes(ping_bytes_max); }
  void fill(ListRequest& m) { m.after = coin() ? store_name() : ""; }
  void fill(ListAnswer& m);
  void fill(CreateRequest& m) { m = {store_name(), number()}; }
  void fill(RemoveRequest& m) { m.store = store_name(); }
  void fill(OpenRequest& m);
  void fill(OpenAnswer& m);
  void fill(SizeAnswer& m) { m = {number(), version()}; }
  void fill(GrowRequest& m) { m.new_pages = number(); }
  void fill(GrowAnswer& m) { m.previous_pages = number(); }
  void fill(ReadRequest& m) { m = {number(), small<std::uint32_t>()}; }
  void fill(ReadAnswer& m) { m.data = bytes(3000); }
  void fill(WriteRequest& m) { m = {number(), bytes(3000)}; }
  void fill(ZeroRequest& m) { m = {number(), number()}; }
  void fill(DataRangesRequest& m) { m = {number(), number()}; }
  void fill(DataRangesAnswer& m) { m = {number(), ranges()}; }
  void fill(FlushAnswer& m) { m.version = version(); }
  void fill(CommitAnswer& m) { m.version = version(); }
  void fill(DiscardAnswer& m) { m = {number(), version()}; }
  void fill(RefreshAnswer& m);
  void fill(StatAnswer& m);
  void fill(BreakLeaseRequest& m) { m.epoch = number(); }
  void fill(BreakLeaseAnswer& m) { m.broken = holder(); }
  void fill(SessionsRequest& m) { m = {number(), coin() ? store_name() : ""}; }
  void fill(SessionsAnswer& m);
  void fill(KickRequest& m) { m = {number(), static_cast<KickWhat>(below(2)), text(name_bytes_max)}; }
  void fill(KickAnswer& m) { m = {coin(), entry()}; }
  void fill(WhoamiRequest& m) { m.store = coin() ? store_name() : ""; }
  void fill(WhoamiAnswer& m) { m = {small<std::uint32_t>(), text(name_bytes_max), text(message_bytes_max)}; }
  void fill(FaultsRequest& m) {
    m = {static_cast<FaultsWhat>(below(3)), static_cast<FaultsScope>(below(2)), text(fault_orders_bytes_max)};
  }
  void fill(FaultsAnswer& m) {
    m.entries.resize(below(fault_orders_max + 1));
    for (FaultsEntry& entry : m.entries) entry = {number(), number(), text(name_bytes_max)};
  }
  void fill(RingRequest& m) { m.direction_bytes = number(); }
  void fill(TakeoverRequest& m) { m = {store_name(), coin()}; }
  void fill(TakeoverAnswer& m) { m = {coin(), number(), text(message_bytes_max)}; }
  template <class Empty>
  void fill(Empty&) {
    static_assert(std::is_empty_v<Empty>);
  }

  /// Often one of the ends of its range.
  std::uint64_t number();
  std::uint64_t below(std::uint64_t bound) { return random_() % bound; }
  bool coin() { return (random_() & 1) != 0; }
  /// UTF-8 of up to four bytes a character.
  std::string_view text(std::size_t bytes_max);
  std::string_view store_name();
  std::span<const std::byte> bytes(std::size_t bytes_max);

private:
  ResumeToken resume_token();
  template <class Number>
  Number small() {
    return static_cast<Number>(number());
  }
  Version version() {
    const std::uint64_t incarnation = number();
    return {incarnation, number()};
  }
  std::vector<Range> ranges();
  std::optional<Holder> holder();
  Load load() { return {number(), number(), number(), number(), number(), number(), number(), number()}; }
  SessionEntry entry();
  std::optional<Recovery> recovery();

  std::mt19937_64 random_;
  std::deque<std::string> texts_;
  std::deque<Bytes> bytes_;
};

}  // namespace pageserver::proto::test
