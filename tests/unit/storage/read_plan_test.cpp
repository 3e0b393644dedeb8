// A read that is planned and carried out, against the same bytes laid over each other one by one.
#include "storage/engine/read_plan.hpp"

#include <fcntl.h>

#include <algorithm>
#include <memory>
#include <random>
#include <vector>

#include "tests/support/temp_dir.hpp"
#include "tests/unit/storage/storage_test.hpp"

namespace pageserver::test {
namespace {

using namespace storage;

/// An image of three pages, and a log of one file, with pieces of random places and kinds.
class World {
public:
  explicit World(unsigned seed) : random_{seed} {
    image = folder_.open_file("image", O_RDWR | O_CREAT, 0600, "create");
    fill(image, image_pages * page_size);
    model.assign(pages * page_size, std::byte{0});
    image.read(0, std::span{model}.first(image_pages * page_size));
    auto segment = std::make_shared<LogSegment>();
    segment->file = folder_.open_file("log", O_RDWR | O_CREAT, 0600, "create");
    segment->end_position = log_bytes;
    fill(segment->file, log_bytes);
    published.segments.push_back(segment);
    published.image_bytes = image_pages * page_size;
    published.pages = pages;
  }

  void change(std::uint64_t offset, std::uint64_t length, unsigned kind) {
    ++published.version;
    const auto into = std::span{model}.subspan(offset, length);
    if (kind == 0) {
      std::fill(into.begin(), into.end(), std::byte{0});
      return published.index.add(offset, length, published.version, no_position, nullptr);
    }
    const std::uint64_t position = random_() % (log_bytes - length);
    published.segments.front()->file.read(position, into);
    std::shared_ptr<std::byte[]> memory;
    if (kind == 1) {
      memory = std::make_shared<std::byte[]>(length);
      std::copy(into.begin(), into.end(), memory.get());
    }
    published.index.add(offset, length, published.version, position, memory);
  }

  std::vector<std::byte> read(std::uint64_t offset, std::uint64_t length, ReadPlan& plan) {
    std::vector<std::byte> bytes(length, std::byte{0xEE});
    published.index.merge_recent(offset / page_size, (offset + length - 1) / page_size);
    plan.look_at_image(published);
    plan.add(published, published.version, offset, bytes);
    plan.run(image, bytes);
    return bytes;
  }
  bool reads_right(std::uint64_t offset, std::uint64_t length) {
    ReadPlan plan;
    const std::vector<std::byte> bytes = read(offset, length, plan);
    return std::equal(bytes.begin(), bytes.end(), model.begin() + static_cast<std::ptrdiff_t>(offset));
  }

  static constexpr std::uint64_t image_pages = 3;
  static constexpr std::uint64_t pages = 5;  // the last two were grown, and are not in the file
  static constexpr std::uint64_t log_bytes = 2 * page_size;
  Published published{[](std::uint64_t, std::uint64_t) { return false; }};
  File image;
  std::vector<std::byte> model;

private:
  void fill(const File& file, std::uint64_t bytes) {
    std::vector<std::byte> content(bytes);
    for (std::byte& byte : content) byte = static_cast<std::byte>(random_());
    file.write(0, content);
  }

  std::mt19937 random_;
  TempDir temporary_;
  Folder folder_ = Folder::open(posix_file_system(), temporary_.path().string());
};

TEST_CASE("read plan: log, memory, zeros and image are put together as if laid over each other") {
  const unsigned seed = GENERATE(1u, 2u, 3u, 4u);
  INFO("seed " << seed);
  World world{seed};
  std::mt19937 random{seed};
  constexpr std::uint64_t size = World::pages * page_size;
  for (int step = 0; step < 400; ++step) {
    const std::uint64_t length = 1 + random() % (random() % 8 == 0 ? page_size + 1000 : 300);
    world.change(random() % (size - length), length, static_cast<unsigned>(random() % 3));
    const std::uint64_t offset = random() % size;
    REQUIRE(world.reads_right(offset, 1 + random() % (size - offset)));
    const std::uint64_t near = random() % (size - 5000);
    REQUIRE(world.reads_right(near, 1 + random() % 5000));
  }
}

TEST_CASE("read plan: what is not in the log needs no plan, and past the file's end there are zeros") {
  World world{1};
  ReadPlan plan;
  plan.look_at_image(world.published);
  const std::uint64_t offset = 2 * page_size + 100;
  std::vector<std::byte> bytes(2 * page_size, std::byte{0xEE});
  plan.read_image(world.image, offset, bytes);
  CHECK(std::equal(bytes.begin(), bytes.end(), world.model.begin() + offset));
  CHECK_FALSE(plan.reads_log());
  CHECK_FALSE(plan.crowded());
}

TEST_CASE("read plan: it says that it reads the log's files, and that it takes many pieces") {
  World world{1};
  world.change(10, 5, 1);
  ReadPlan memory;
  world.read(0, 100, memory);
  CHECK_FALSE(memory.reads_log());
  world.change(20, 5, 2);
  ReadPlan log;
  world.read(0, 100, log);
  CHECK(log.reads_log());
  CHECK_FALSE(log.crowded());
  for (std::uint64_t at = 0; at < 64; ++at) world.change(at * 20, 5, 1);
  ReadPlan many;
  world.read(0, 2000, many);
  CHECK(many.crowded());
}

TEST_CASE("log reads: it is time for a checkpoint after some reads for each piece, and then again as many") {
  LogReads reads;
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < 16; ++i) CHECK_FALSE(reads.count(2));
    CHECK(reads.count(2));
  }
}

}  // namespace
}  // namespace pageserver::test
