// Each test gets an image of its own within a millisecond, and leaves no trace: fork_per_test [URI]
#include <array>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>

#include <pageserver/open.hpp>

namespace {

constexpr std::uint64_t offset = 4096;

std::byte first_byte(pageserver::MemoryProvider& image) {
  std::array<std::byte, 1> byte{};
  image.read(offset, byte);
  return byte[0];
}

// What a test of a database would do to its image.
void spoil(pageserver::MemoryProvider& image) {
  image.grow(1);
  const std::array<std::byte, 1> other{first_byte(image) ^ std::byte{0xff}};
  image.write(offset, other);
  image.flush();  // does nothing in a fork
}

}  // namespace

int main(int argc, char** argv) try {
  const std::string uri = argc > 1 ? argv[1] : "pageserver://127.0.0.1/demo";
  const std::string fork = uri + (uri.find('?') == std::string::npos ? "?" : "&") + "access=fork";
  const std::byte before = first_byte(*pageserver::open(fork));
  for (int test = 0; test < 100; ++test) {
    const auto image = pageserver::open(fork);  // a copy of the newest version, as far as the test can see
    if (first_byte(*image) != before) throw std::runtime_error("a test saw what another one wrote");
    spoil(*image);
    if (first_byte(*image) == before) throw std::runtime_error("a test does not see what it wrote");
  }
  std::printf("100 tests, each with an image of its own\n");
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
