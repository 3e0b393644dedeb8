#include <set>
#include <string>
#include <thread>
#include "tests/support/catch.hpp"

#include "proto/codec.hpp"
#include "server/metrics/metrics_text.hpp"
#include "server/metrics/request_figures.hpp"
#include "tests/support/files.hpp"

using namespace pageserver;
using namespace pageserver::server;
using pageserver::test::content_of;
using proto::Operation;
using std::chrono::microseconds;
using std::chrono::nanoseconds;

namespace {

RequestSums sums() {
  RequestSums all;
  RequestFigures::sum_up(all);
  return all;
}

RequestRow::Moment at(std::int64_t ns) { return RequestRow::Moment(nanoseconds(ns)); }

}  // namespace

TEST_CASE("metrics: docs/metrics.md is what the daemon prints") {
  INFO("write it anew: pageserverd --print-metrics-reference >docs/metrics.md");
  CHECK(content_of(METRICS_REFERENCE_PATH) == metrics_reference());
}

TEST_CASE("metrics: each family has a name of its own, in the form that Prometheus wants") {
  std::set<std::string_view> names;
  for (const Family* const family : families::all) {
    INFO(family->name);
    CHECK(names.insert(family->name).second);
    CHECK(family->name.ends_with("_total") == (family->kind == FamilyKind::counter));
    CHECK_FALSE(family->meaning.empty());
    CHECK_FALSE(family->meaning.ends_with('.'));
    CHECK(family->meaning.find_first_of("\\\n|") == std::string_view::npos);
  }
}

TEST_CASE("metrics: every operation and status that a peer can cause has a place") {
  for (std::size_t i = 1; i < operations_counted; ++i)
    CHECK_FALSE(proto::to_string(static_cast<Operation>(i)).starts_with("operation "));
  CHECK(proto::to_string(static_cast<Operation>(operations_counted)).starts_with("operation "));
  for (std::size_t i = 0; i < statuses_counted; ++i)
    CHECK_FALSE(proto::to_string(static_cast<proto::Status>(i)).starts_with("status "));
  CHECK(proto::to_string(static_cast<proto::Status>(statuses_counted)).starts_with("status "));
  CHECK(counted_as(static_cast<Operation>(0xffff)) == 0);
}

TEST_CASE("metrics: a microsecond and a second have buckets of their own") {
  CHECK(duration_bucket(0) == 0);
  CHECK(duration_bucket(1023) == 0);
  CHECK(duration_bucket(1024) == 1);
  CHECK(duration_bucket(UINT64_MAX) == duration_buckets - 1);
  for (std::size_t i = 0; i + 1 < duration_buckets; ++i) {
    const auto bound_ns = static_cast<std::uint64_t>(duration_bound_seconds(i) * 1e9 + 0.5);
    CHECK(duration_bucket(bound_ns - 1) == i);
    CHECK(duration_bucket(bound_ns) == i + 1);
  }
  CHECK(duration_bound_seconds(0) < 2e-6);
  CHECK(duration_bound_seconds(duration_buckets - 2) > 30);
}

TEST_CASE("metrics: a row of requests is counted one by one, whatever they took") {
  const RequestSums before = sums();
  RequestFigures figures;
  {
    RequestRow row(figures);
    row.moment(at(0));
    row.taken(Operation::read);
    row.moment(at(1500));  // bucket 1
    row.taken(Operation::read);
    row.moment(at(3500));  // 2000: bucket 1
    row.taken(Operation::read);
    row.moment(at(4000));  // 500: bucket 0
    row.taken(Operation::stat);
    row.moment(at(4500));
    row.taken(Operation::read);
    row.moment(at(1'000'004'500));
    row.taken(Operation::write, 3);
    row.moment(at(1'000'014'500));
    row.taken(Operation::flush);
    CHECK(row.forget_last() == Operation::flush);
    row.moment(at(2'000'000'000));
  }
  const RequestSums after = sums();
  const auto more = [&](Operation operation, std::size_t bucket) {
    const std::size_t i = counted_as(operation);
    return after.durations[i].counts[bucket] - before.durations[i].counts[bucket];
  };
  CHECK(more(Operation::read, 0) == 1);
  CHECK(more(Operation::read, 1) == 2);
  CHECK(more(Operation::read, duration_bucket(1'000'000'000)) == 1);
  CHECK(more(Operation::stat, 0) == 1);
  CHECK(more(Operation::write, duration_bucket(10'000)) == 3);
  CHECK(after.durations[counted_as(Operation::flush)].count() ==
        before.durations[counted_as(Operation::flush)].count());
  const auto sum = [&](Operation operation) {
    return after.durations[counted_as(operation)].sum_ns - before.durations[counted_as(operation)].sum_ns;
  };
  CHECK(sum(Operation::read) == 1500 + 2000 + 500 + 1'000'000'000);
  CHECK(sum(Operation::write) == 3 * 10'000);
}

TEST_CASE("metrics: what a thread counted stays in the sums after it has ended") {
  const RequestSums before = sums();
  std::thread([] {
    RequestFigures figures;
    figures.add_one(Operation::list, microseconds(5));
    figures.add_failure(Operation::list, proto::Status::not_found);
    figures.add_failure(static_cast<Operation>(777), proto::Status::unsupported);
  }).join();
  const RequestSums after = sums();
  const std::size_t list = counted_as(Operation::list);
  CHECK(after.durations[list].count() == before.durations[list].count() + 1);
  const auto not_found = static_cast<std::size_t>(proto::Status::not_found);
  CHECK(after.failures[list][not_found] == before.failures[list][not_found] + 1);
  const auto unsupported = static_cast<std::size_t>(proto::Status::unsupported);
  CHECK(after.failures[0][unsupported] == before.failures[0][unsupported] + 1);
}

TEST_CASE("metrics: the text escapes what a label may hold, and adds buckets up") {
  MetricsText text;
  text.family(families::store_size);
  text.sample(7u, "a\"b\\c\nd");
  CHECK(text.take() ==
        "# HELP pageserver_store_size_bytes size of the newest published version\n"
        "# TYPE pageserver_store_size_bytes gauge\n"
        "pageserver_store_size_bytes{store=\"a\\\"b\\\\c\\nd\"} 7\n");
  Durations durations;
  durations.counts[0] = 2;
  durations.counts[duration_buckets - 1] = 3;
  durations.sum_ns = 1'500'000'000;
  text.family(families::request_duration);
  text.durations(durations, "read");
  const std::string all = text.take();
  CHECK(all.find("_bucket{operation=\"read\",le=\"1.024e-06\"} 2\n") != std::string::npos);
  CHECK(all.find("_bucket{operation=\"read\",le=\"+Inf\"} 5\n") != std::string::npos);
  CHECK(all.find("_sum{operation=\"read\"} 1.5\n") != std::string::npos);
  CHECK(all.find("_count{operation=\"read\"} 5\n") != std::string::npos);
}
