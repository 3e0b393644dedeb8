// What it costs a thread of the daemon to count a request that it serves.
#include <benchmark/benchmark.h>

#include <chrono>
#include <memory>

#include "server/metrics/request_figures.hpp"

namespace pageserver::server {
namespace {

using namespace std::chrono_literals;

/// One after the other, of `state.range(0)` kinds that take turns: those of one kind are counted together.
void count_requests(benchmark::State& state) {
  const auto figures = std::make_unique<RequestFigures>();
  RequestRow row{*figures};
  RequestRow::Moment now{};
  row.moment(now);
  const bool mixed = state.range(0) > 1;
  bool writes = false;
  for (auto _ : state) {
    row.taken(writes ? proto::Operation::write : proto::Operation::read);
    now += 5us;
    row.moment(now);
    writes = mixed && !writes;
    benchmark::ClobberMemory();
  }
}
BENCHMARK(count_requests)->Name("metrics/count a request, so many kinds")->Arg(1)->Arg(2);

void count_failure(benchmark::State& state) {
  const auto figures = std::make_unique<RequestFigures>();
  for (auto _ : state) {
    figures->add_failure(proto::Operation::read, proto::Status::out_of_bounds);
    benchmark::ClobberMemory();
  }
}
BENCHMARK(count_failure)->Name("metrics/count a failure");

}  // namespace
}  // namespace pageserver::server

BENCHMARK_MAIN();
