// Reports and error codes get from the library to the wire and back whole.
#include "tests/support/catch.hpp"

#include <set>
#include <tuple>

#include "proto/library_values.hpp"

using namespace pageserver;

namespace {

// A new field does not compile until it stands here, and does not pass until it stands in the table.
auto fields_of(const HolderStat& holder) {
  const auto& [name, address, since, idle, epoch, access, view, publish, version] = holder;
  return std::tie(name, address, since, idle, epoch, access, view, publish, version);
}
auto fields_of(const Recovery& recovery) {
  const auto& [when, log, files, records, pages, dropped_files, dropped_records, count, kept, warning] = recovery;
  return std::tie(when, log, files, records, pages, dropped_files, dropped_records, count, kept, warning);
}
auto fields_of(const Load& load) {
  const auto& [connections, requests, waiting, running, threads, store_waiting, stuck, stuck_ms] = load;
  return std::tie(connections, requests, waiting, running, threads, store_waiting, stuck, stuck_ms);
}
auto fields_of(const HomeStat& home) {
  const auto& [name, holder, health, epoch] = home;
  return std::tie(name, holder, health, epoch);
}
auto fields_of(const Stat& stat) {
  const auto& [store, pages, version, read_only, writer, waiting, live, pinned, write, fork, oldest, size, log, lag,
               held, forked, sync_error, warning, load, recovery, home] = stat;
  return std::tuple_cat(std::tie(store, pages, version, read_only, waiting, live, pinned, write, fork, size, log, lag,
                                 held, forked, sync_error, warning),
                        fields_of(load.value()), fields_of(recovery.value()), fields_of(writer.value()),
                        fields_of(oldest.value()), fields_of(home.value()));
}

/// Every field differs from its default and from the others of its kind.
HolderStat holder_of(std::uint64_t number) {
  const auto text = std::to_string(number);
  return {"name " + text, "address " + text, static_cast<std::int64_t>(number + 1),
          number + 2,     number + 3,        Access::fork,
          View::pinned,   Publish::on_flush, number + 4};
}
Stat full_stat() {
  return {"demo",
          11,
          {12, 13},
          true,
          holder_of(100),
          14,
          15,
          16,
          17,
          18,
          holder_of(200),
          19,
          20,
          21,
          22,
          23,
          "sync",
          "warning",
          Load{31, 32, 33, 34, 35, 36, 37, 38},

          Recovery{-24, 25, 26, 27, 28, 29, 30, 2, {"a.kept", "b.kept"}, "torn"},
          HomeStat{"ceph:pool/demo.img", "host, process 7", "HEALTH_OK", 39}};
}

}  // namespace

TEST_CASE("a report is the same after the way to the wire and back") {
  const Stat stat = full_stat();
  const auto wire = proto::to_wire(stat);
  CHECK(wire.store.data() == stat.store.data());
  CHECK(wire.pages == 11);
  CHECK(wire.writer.value().name == "name 100");
  CHECK((fields_of(proto::from_wire(wire)) == fields_of(stat)));
}

TEST_CASE("a report without holders has none on the wire") {
  const auto wire = proto::to_wire(Stat{});
  CHECK_FALSE(wire.writer);
  CHECK_FALSE(wire.oldest_holder);
  CHECK_FALSE(wire.load);
  CHECK_FALSE(wire.recovery);
  CHECK_FALSE(wire.home);
  const auto stat = proto::from_wire(wire);
  CHECK_FALSE(stat.writer);
  CHECK_FALSE(stat.oldest_holder);
  CHECK_FALSE(stat.recovery);
}

TEST_CASE("each error code has a status of its own and gets back from it") {
  std::set<proto::Status> statuses;
  for (int number = static_cast<int>(Errc::out_of_bounds); number <= static_cast<int>(Errc::damaged); ++number) {
    const auto code = static_cast<Errc>(number);
    if (code == Errc::connection_lost) continue;
    INFO("code " << number);
    const auto status = proto::status_of(code);
    CHECK(statuses.insert(status).second);
    CHECK((proto::errc_of(status) == code));
  }
}

TEST_CASE("what only one side has becomes what the other makes of it") {
  CHECK((proto::status_of(Errc::connection_lost) == proto::Status::provider_error));
  CHECK((proto::errc_of(proto::Status::stopping) == Errc::connection_lost));
  CHECK((proto::errc_of(proto::Status::kicked) == Errc::connection_lost));
  CHECK((proto::errc_of(proto::Status::ok) == Errc::provider_error));
  CHECK((proto::errc_of(static_cast<proto::Status>(4711)) == Errc::provider_error));
}
