// Pinned readers and forks against a copy taken at their version, while a writer rewrites everything.
#include <pageserver/error.hpp>
#include <pageserver/open.hpp>

#include <atomic>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>
#include "tests/support/catch.hpp"

#include "tests/support/daemon.hpp"

namespace pageserver::test {
namespace {

using Image = std::vector<std::byte>;
constexpr std::uint64_t image_pages = 32;

Image whole(MemoryProvider& provider) {
  Image image(provider.size());
  provider.read(0, image);
  return image;
}

/// Rewrites the whole image again and again, flushing now and then, until it is told to end.
class Rewriter {
public:
  explicit Rewriter(const std::string& uri)
      : thread_{[this, uri] {
          try {
            rewrite(uri);
          } catch (const std::exception& error) {
            failure_ = error.what();
          }
        }} {}
  Rewriter(const Rewriter&) = delete;
  Rewriter& operator=(const Rewriter&) = delete;
  ~Rewriter() { stop(); }

  /// Returns once `rounds` more rewrites of everything are done.
  void wait_for(std::uint64_t rounds) {
    const std::uint64_t until = rounds_.load() + rounds;
    for (std::uint64_t seen = rounds_.load(); seen < until && !ended_; seen = rounds_.load()) rounds_.wait(seen);
  }
  std::string stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
    return failure_;
  }

private:
  void rewrite(const std::string& uri) {
    const auto image = open(uri);
    std::mt19937_64 random{7};
    std::vector<std::byte> page(page_size);
    while (!stop_) {
      for (std::uint64_t index = 0; index < image->pages(); ++index) {
        const std::uint64_t value = random();
        for (std::size_t at = 0; at < page.size(); at += 8) std::memcpy(&page[at], &value, 8);
        image->write(index * page_size, page);
      }
      if (random() % 3 == 0) image->flush();
      rounds_.fetch_add(1);
      rounds_.notify_all();
    }
    ended_ = true;
    rounds_.notify_all();
  }

  std::atomic<bool> stop_{false};
  std::atomic<bool> ended_{false};
  std::atomic<std::uint64_t> rounds_{0};
  std::string failure_;
  std::thread thread_;
};

void prepare(Daemon& daemon) {
  const auto image = open(daemon.unix_uri("s"));
  image->grow(image_pages);
  image->flush();
}

}  // namespace

TEST_CASE("a pinned reader sees its version however long the writer goes on") {
  Daemon daemon{{"--store", "s={dir}/s.img"}};
  prepare(daemon);
  Rewriter writer{daemon.tcp_uri("s")};
  for (int round = 0; round < 8; ++round) {
    writer.wait_for(1);
    const auto pinned = open_session(daemon.unix_uri("s", "access=read&view=pinned"));
    const Image first = whole(*pinned);
    const Version version = pinned->version();
    writer.wait_for(4);
    REQUIRE(pinned->version() == version);
    REQUIRE(whole(*pinned) == first);
    const Refreshed moved = pinned->refresh();
    CHECK(moved.version.number > version.number);
    CHECK(whole(*pinned) != first);
  }
  CHECK(writer.stop() == "");
}

TEST_CASE("refresh names every range that changed") {
  Daemon daemon{{"--store", "s={dir}/s.img"}};
  prepare(daemon);
  const auto writer = open(daemon.tcp_uri("s"));
  const auto pinned = open_session(daemon.tcp_uri("s", "access=read&view=pinned"));
  std::mt19937_64 random{11};
  for (int round = 0; round < 30; ++round) {
    Image known = whole(*pinned);
    const std::uint64_t writes = random() % 20;
    for (std::uint64_t i = 0; i < writes; ++i) {
      const std::uint64_t length = 1 + random() % 3000;
      const std::uint64_t offset = random() % (known.size() - length);
      writer->write(offset, Image(length, static_cast<std::byte>(random())));
    }
    const Refreshed moved = pinned->refresh();
    const Image now = whole(*pinned);
    REQUIRE(now.size() == moved.pages * page_size);
    if (!moved.everything)
      for (const ByteRange range : moved.changed)
        std::memcpy(known.data() + range.offset, now.data() + range.offset, range.length);
    REQUIRE((moved.everything || known == now));
  }
}

TEST_CASE("a fork stands on its version, keeps its own bytes, and shows them to nobody") {
  Daemon daemon{{"--store", "s={dir}/s.img"}};
  prepare(daemon);
  Rewriter writer{daemon.tcp_uri("s")};
  writer.wait_for(1);
  const auto fork = open_session(daemon.tcp_uri("s", "access=fork"));
  Image model = whole(*fork);
  const Image base = model;
  std::mt19937_64 random{13};
  for (int round = 0; round < 200; ++round) {
    const std::uint64_t length = 1 + random() % 100'000;
    if (random() % 10 == 0) {
      fork->grow(1);
      model.resize(model.size() + page_size);
    }
    const std::uint64_t offset = random() % (model.size() - length);
    const Image data(length, static_cast<std::byte>(random()));
    fork->write(offset, data);
    std::memcpy(model.data() + offset, data.data(), data.size());
    if (round % 20 == 0) {
      writer.wait_for(1);
      REQUIRE(whole(*fork) == model);
    }
  }
  REQUIRE(whole(*fork) == model);
  fork->flush();
  fork->discard();
  CHECK(whole(*fork) == base);
  CHECK(writer.stop() == "");
  CHECK(open(daemon.tcp_uri("s", "access=read"))->pages() == image_pages);
}

TEST_CASE("a copy of a store that is being written is one version") {
  Daemon daemon{{"--store", "s={dir}/s.img"}};
  prepare(daemon);
  // Every transaction gives all pages one value, so a copy that holds two is a mixture.
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> commits{0};
  std::string failure;
  std::thread writer{[&] {
    try {
      const auto image = open(daemon.tcp_uri("s", "publish=on_flush"));
      for (std::uint64_t value = 1; !stop; ++value) {
        for (std::uint64_t page = 0; page < image_pages; ++page)
          image->write(page * page_size + 512, std::as_bytes(std::span{&value, 1}));
        image->flush();
        commits.fetch_add(1);
        commits.notify_all();
      }
    } catch (const std::exception& error) {
      failure = error.what();
      commits.fetch_add(1);
      commits.notify_all();
    }
  }};
  commits.wait(0);
  for (int round = 0; round < 5; ++round) {
    const std::string to = daemon.file("copy" + std::to_string(round) + ".img");
    const RunResult copied = run({pagectl_path(), "copy", daemon.tcp_uri("s"), to, "--json"});
    INFO(copied.err << copied.out);
    REQUIRE(copied.status == 0);
    CHECK(copied.out.find("version") != std::string::npos);
    const auto copy = open("file:" + to + "?access=read");
    std::uint64_t first = 0;
    copy->read(512, std::as_writable_bytes(std::span{&first, 1}));
    for (std::uint64_t page = 0; page < image_pages; ++page) {
      std::uint64_t value = 0;
      copy->read(page * page_size + 512, std::as_writable_bytes(std::span{&value, 1}));
      REQUIRE(value == first);
    }
  }
  stop = true;
  writer.join();
  CHECK(failure == "");
}

}  // namespace pageserver::test
