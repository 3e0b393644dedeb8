// The engine's inner paths, without a socket: a publish, reads with and without the log, its index and checksum.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <pageserver/session.hpp>

#include "storage/embedded/embedded_store.hpp"
#include "storage/engine/read_gate.hpp"
#include "storage/log/log_checksum.hpp"
#include "storage/log/log_codec.hpp"
#include "storage/log/log_index.hpp"
#include "tests/support/temp_dir.hpp"

namespace pageserver::storage {
namespace {

constexpr std::uint64_t pages = 1024;

/// A store of 64 MiB of which every byte is written and, unless a log is wanted, checkpointed by a clean stop.
class Image {
public:
  explicit Image(std::uint64_t log_bytes = 1ull << 30) { options_.engine.log_bytes = log_bytes; }

  std::unique_ptr<Session> open() const { return open_embedded_store(folder_.file("image.img"), options_); }
  std::unique_ptr<Session> pinned() const {
    EmbeddedOptions options = options_;
    options.access = Access::read;
    options.view = View::pinned;
    return open_embedded_store(folder_.file("image.img"), options);
  }
  void fill() const {
    const auto session = open();
    session->grow(pages);
    const std::vector<std::byte> page(page_size, std::byte{7});
    for (std::uint64_t i = 0; i < pages; ++i) session->write(i * page_size, page);
  }

private:
  test::TempDir folder_;
  EmbeddedOptions options_;
};

std::uint64_t place(std::mt19937_64& random, std::uint64_t length) {
  return random() % (pages * page_size / length) * length;
}

/// With its share of checkpoints, which a small log makes frequent.
void publish(benchmark::State& state) {
  const Image image{64ull << 20};
  image.fill();
  const auto session = image.open();
  std::mt19937_64 random{1};
  const std::vector<std::byte> data(static_cast<std::size_t>(state.range(0)), std::byte{9});
  for (auto _ : state) session->write(place(random, data.size()), data);
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

void read_image(benchmark::State& state) {
  const Image image;
  image.fill();
  const auto session = image.open();
  std::mt19937_64 random{1};
  std::vector<std::byte> into(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) session->read(place(random, into.size()), into);
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

/// Every page has a piece in the log that no checkpoint has taken.
void read_with_log(benchmark::State& state) {
  const Image image;
  image.fill();
  const auto session = image.open();
  const std::vector<std::byte> piece(64, std::byte{9});
  for (std::uint64_t i = 0; i < pages; ++i) session->write(i * page_size + 1024, piece);
  std::mt19937_64 random{1};
  std::vector<std::byte> into(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) session->read(place(random, into.size()), into);
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

void index_add(benchmark::State& state) {
  std::mt19937_64 random{1};
  LogIndex index;
  std::uint64_t version = 0;
  for (auto _ : state) {
    index.add(place(random, 8), 8, version + 1, version * 128, nullptr);
    // As a checkpoint does.
    if (++version % 65536 == 0) {
      for (std::uint64_t page = 0; page != no_position;) page = index.drop_until(version, page, 256);
    }
  }
}

void index_pieces_at(benchmark::State& state) {
  std::mt19937_64 random{1};
  LogIndex index;
  std::uint64_t version = 0;
  for (; version < static_cast<std::uint64_t>(state.range(0)); ++version)
    index.add(place(random, 8), 8, version + 1, version * 128, nullptr);
  std::vector<Piece> pieces;
  for (auto _ : state) {
    pieces.clear();
    const std::uint64_t offset = place(random, 8);
    const auto in_page = static_cast<std::uint32_t>(offset % page_size);
    index.pieces_at(offset / page_size, version, in_page, in_page + 8, pieces);
    benchmark::DoNotOptimize(pieces.data());
  }
}

void checksum(benchmark::State& state) {
  const std::vector<std::byte> data(static_cast<std::size_t>(state.range(0)), std::byte{7});
  for (auto _ : state) benchmark::DoNotOptimize(log_checksum(data));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

// --- how long readers are kept out at a time

/// The least of the longest closings of each time: another process may have had the core during one.
template <class Prepare, class Change>
void longest_closing(benchmark::State& state, const Prepare& prepare, const Change& change) {
  double least_us = 0;
  for (auto _ : state) {
    state.PauseTiming();
    prepare();
    ReadGate::measure();
    state.ResumeTiming();
    change();
    const double us = std::chrono::duration<double, std::micro>(ReadGate::longest_closing()).count();
    least_us = least_us == 0 ? us : std::min(least_us, us);
  }
  state.counters["longest_closing_us"] = least_us;
}

void closing_by_zero(benchmark::State& state) {
  const Image image{1ull << 34};
  image.fill();
  const auto session = image.open();
  const std::vector<std::byte> piece(8, std::byte{9});
  const auto entries = static_cast<std::uint64_t>(state.range(0));
  const std::uint64_t apart = pages * page_size / entries / 8 * 8;
  longest_closing(
      state,
      [&] {
        for (std::uint64_t i = 0; i < entries; ++i) session->write(i * apart, piece);
      },
      [&] { session->zero(0, pages * page_size); });
}

void closing_by_commit(benchmark::State& state) {
  EmbeddedOptions options;
  options.publish = Publish::on_flush;
  const test::TempDir folder;
  const auto session = open_embedded_store(folder.file("image.img"), options);
  const auto ranges = static_cast<std::uint64_t>(state.range(0));
  constexpr std::uint64_t apart = 8192;
  session->grow(ranges * apart / page_size + 1);
  session->flush();
  const std::vector<std::byte> piece(8, std::byte{9});
  longest_closing(
      state,
      [&] {
        for (std::uint64_t i = 0; i < ranges; ++i) session->write(i * apart, piece);
      },
      [&] { session->flush(); });
}

/// What a pinned session's refresh looks through to say what has changed.
void closing_by_refresh(benchmark::State& state) {
  const Image image{1ull << 34};
  image.fill();
  const auto writer = image.open();
  const auto reader = image.pinned();
  const std::vector<std::byte> piece(8, std::byte{9});
  const auto entries = static_cast<std::uint64_t>(state.range(0));
  const std::uint64_t apart = pages * page_size / entries / 8 * 8;
  longest_closing(
      state,
      [&] {
        for (std::uint64_t i = 0; i < entries; ++i) writer->write(i * apart, piece);
      },
      [&] { static_cast<void>(reader->refresh()); });
}

BENCHMARK(closing_by_zero)->Arg(500'000)->Iterations(3)->Unit(benchmark::kMillisecond);
BENCHMARK(closing_by_commit)->Arg(200'000)->Iterations(3)->Unit(benchmark::kMillisecond);
BENCHMARK(closing_by_refresh)->Arg(60'000)->Iterations(3)->Unit(benchmark::kMillisecond);
BENCHMARK(publish)->Arg(8)->Arg(65536)->UseRealTime();
BENCHMARK(read_image)->Arg(8)->Arg(65536);
BENCHMARK(read_with_log)->Arg(8)->Arg(65536);
BENCHMARK(index_add);
BENCHMARK(index_pieces_at)->Arg(1024)->Arg(65536);
BENCHMARK(checksum)->Arg(8)->Arg(64)->Arg(65536);

}  // namespace
}  // namespace pageserver::storage

BENCHMARK_MAIN();
