// What encoding, decoding and framing of the messages that come by the million cost.
#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "proto/codec.hpp"
#include "proto/framing.hpp"

namespace pageserver::proto {
namespace {

constexpr std::uint32_t payload_bytes_max = 4u << 20;

std::vector<std::byte> bytes_of(const benchmark::State& state) {
  return std::vector<std::byte>(static_cast<std::size_t>(state.range(0)), std::byte{7});
}

template <class Message>
void encode_again(benchmark::State& state, const Message& message) {
  Bytes out;
  std::uint64_t id = 0;
  for (auto _ : state) {
    out.clear();
    encode(out, ++id, message);
    benchmark::DoNotOptimize(out.data());
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(out.size()));
}

template <class Message>
void decode_again(benchmark::State& state, const Message& message) {
  Bytes frame;
  encode(frame, 1, message);
  const auto payload = std::span<const std::byte>(frame).subspan(frame_header_bytes);
  for (auto _ : state) {
    Message decoded;
    if (decode(payload, decoded)) state.SkipWithError("the payload was refused");
    benchmark::DoNotOptimize(decoded);
  }
}

void encode_read_request(benchmark::State& state) { encode_again(state, ReadRequest{4096, 8}); }
void decode_read_request(benchmark::State& state) { decode_again(state, ReadRequest{4096, 8}); }
void encode_read_answer(benchmark::State& state) {
  const auto data = bytes_of(state);
  encode_again(state, ReadAnswer{data});
}
void decode_read_answer(benchmark::State& state) {
  const auto data = bytes_of(state);
  decode_again(state, ReadAnswer{data});
}
void encode_write_request(benchmark::State& state) {
  const auto data = bytes_of(state);
  encode_again(state, WriteRequest{4096, data});
}
void decode_write_request(benchmark::State& state) {
  const auto data = bytes_of(state);
  decode_again(state, WriteRequest{4096, data});
}
void encode_write_answer(benchmark::State& state) { encode_again(state, WriteAnswer{}); }
void decode_write_answer(benchmark::State& state) { decode_again(state, WriteAnswer{}); }
void encode_flush_answer(benchmark::State& state) { encode_again(state, FlushAnswer{{1, 2}}); }
void decode_flush_answer(benchmark::State& state) { decode_again(state, FlushAnswer{{1, 2}}); }

/// A buffer as one recv fills it: so many requests, one after the other.
void scan_requests(benchmark::State& state) {
  Bytes buffer;
  for (std::int64_t i = 0; i < state.range(0); ++i)
    encode(buffer, static_cast<std::uint64_t>(i + 1), ReadRequest{static_cast<std::uint64_t>(i) * 8, 8});
  for (auto _ : state) {
    for (auto rest = std::span<const std::byte>(buffer); !rest.empty();) {
      const Scan scan = scan_frame(rest, payload_bytes_max);
      benchmark::DoNotOptimize(scan.payload.data());
      if (scan.kind != Scan::Kind::frame) return state.SkipWithError("no frame");
      rest = rest.subspan(scan.frame_bytes);
    }
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

BENCHMARK(encode_read_request);
BENCHMARK(decode_read_request);
BENCHMARK(encode_read_answer)->Arg(8)->Arg(65536);
BENCHMARK(decode_read_answer)->Arg(8)->Arg(65536);
BENCHMARK(encode_write_request)->Arg(8)->Arg(65536);
BENCHMARK(decode_write_request)->Arg(8)->Arg(65536);
BENCHMARK(encode_write_answer);
BENCHMARK(decode_write_answer);
BENCHMARK(encode_flush_answer);
BENCHMARK(decode_flush_answer);
BENCHMARK(scan_requests)->Arg(1)->Arg(64);

}  // namespace
}  // namespace pageserver::proto

BENCHMARK_MAIN();
