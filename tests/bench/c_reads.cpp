// What a read costs through the C++ library and through the C interface: c_reads URI
// Each line on standard input, `cpp|c LENGTH COUNT`, is measured at once; the answer is nanoseconds for each read.
// scripts/bench_c_and_python.py asks, and measures Python in between.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <iostream>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <pageserver/pageserver.h>
#include <pageserver/open.hpp>

namespace {

struct Close {
  void operator()(ps_session* session) const { ps_session_close(session); }
};
using CSession = std::unique_ptr<ps_session, Close>;

/// Pages in turn, so that all of the image is looked at.
template <class Read>
double nanoseconds_each(std::uint64_t size, std::size_t length, std::size_t count, Read read) {
  std::vector<std::byte> buffer(length);
  const auto began = std::chrono::steady_clock::now();
  std::uint64_t offset = 0;
  for (std::size_t i = 0; i < count; ++i) {
    read(offset, buffer);
    offset = offset + 2 * pageserver::page_size > size ? 0 : offset + pageserver::page_size;
  }
  const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - began;
  return took.count() / static_cast<double>(count);
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 2) throw std::invalid_argument{"usage: c_reads URI"};
  const auto cpp = pageserver::open(argv[1]);
  ps_error error = PS_ERROR_INIT;
  ps_session* opened = nullptr;
  if (ps_session_open(argv[1], nullptr, &opened, &error) != PS_OK) throw std::runtime_error{error.text};
  const CSession c{opened};
  const auto size = cpp->size();
  std::string way;
  std::size_t length = 0, count = 0;
  while (std::cin >> way >> length >> count) {
    if (size < length || size < pageserver::page_size) throw std::invalid_argument{"the image is too small"};
    double each = 0;
    if (way == "cpp")
      each = nanoseconds_each(size, length, count,
                              [&](std::uint64_t offset, std::span<std::byte> buffer) { cpp->read(offset, buffer); });
    else
      each = nanoseconds_each(size, length, count, [&](std::uint64_t offset, std::span<std::byte> buffer) {
        if (ps_session_read(c.get(), offset, buffer.data(), buffer.size(), &error) != PS_OK)
          throw std::runtime_error{error.text};
      });
    std::printf("%.1f\n", each);
    std::fflush(stdout);
  }
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
