// The same few lines on a daemon's store, on a file and in memory: hello [URI]
#include <cstdio>
#include <exception>
#include <span>

#include <pageserver/open.hpp>

int main(int argc, char** argv) try {
  // A plain path works as well: the program does not see the difference.
  auto memory = pageserver::open(argc > 1 ? argv[1] : "pageserver://127.0.0.1/demo");
  if (memory->pages() == 0) memory->grow(16);
  char greeting[] = "hello";
  memory->write(70'000, std::as_bytes(std::span(greeting)));
  memory->flush();  // on disk when this returns
  memory->read(70'000, std::as_writable_bytes(std::span(greeting)));
  std::printf("%s from %llu pages\n", greeting, static_cast<unsigned long long>(memory->pages()));
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
