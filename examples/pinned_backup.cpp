// One version of a store into a file, while others write: pinned_backup URI FILE
// (`pagectl copy` does this too, with many requests in flight.)
#include <algorithm>
#include <cstdio>
#include <exception>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <pageserver/open.hpp>

int main(int argc, char** argv) try {
  if (argc != 3) throw std::runtime_error("usage: pinned_backup URI FILE");
  const std::string uri = argv[1];
  const auto source =
      pageserver::open_session(uri + (uri.find('?') == std::string::npos ? "?" : "&") + "access=read&view=pinned");
  const auto copy = pageserver::open(std::string("file:") + argv[2]);
  if (copy->pages() != 0) throw std::runtime_error(std::string(argv[2]) + " is not empty");
  copy->grow(source->pages());
  std::vector<std::byte> part(1u << 20);
  std::uint64_t copied = 0;
  // What is in none of the ranges is zero in this version, as it is in the new file.
  for (const pageserver::ByteRange range : source->data_ranges(0, source->size())) {
    for (std::uint64_t at = range.offset; at < range.offset + range.length; at += part.size()) {
      const auto length = std::min<std::uint64_t>(part.size(), range.offset + range.length - at);
      const std::span<std::byte> bytes{part.data(), static_cast<std::size_t>(length)};
      source->read(at, bytes);
      copy->write(at, bytes);
      copied += length;
    }
  }
  copy->flush();
  std::printf("version %llu: %llu pages, %llu bytes of data\n",
              static_cast<unsigned long long>(source->version().number),
              static_cast<unsigned long long>(source->pages()), static_cast<unsigned long long>(copied));
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
