// Commits behind changes that nobody waited for: published as one, or not at all.
#include <fstream>
#include "tests/support/catch.hpp"

#include "tests/daemon/helpers.hpp"

using namespace pageserver;
using namespace pageserver::test;
using proto::Operation;
using proto::Status;

namespace {

constexpr std::uint64_t page = 65536;
const std::vector<std::string> one_store{"--store", "demo={dir}/demo.img"};

RawClient opened(const Daemon& daemon, proto::Access access, proto::Publish publish = proto::Publish::on_write) {
  RawClient client = RawClient::tcp(daemon.port());
  client.hello();
  proto::OpenRequest request;
  request.access = access;
  request.publish = publish;
  request.store = "demo";
  request.session_name = "committer";
  client.call(request).as<proto::OpenAnswer>();
  return client;
}

RawClient transactions(const Daemon& daemon) { return opened(daemon, proto::Access::write, proto::Publish::on_flush); }

std::uint64_t version_of(RawClient& client) {
  return client.call(proto::SizeRequest{}).as<proto::SizeAnswer>().version.number;
}

/// Requests that go out as one send, and the statuses of their answers.
class Pipeline {
public:
  template <class Request>
  Pipeline& add(const Request& request) {
    proto::encode(bytes_, 1000 + count_++, request);
    return *this;
  }
  /// The header's field of flags, which a request must not use.
  Pipeline& spoil_last_header() {
    std::size_t at = 0;
    for (std::size_t next = 0; next < bytes_.size();) {
      at = next;
      next += proto::scan_frame(std::span(bytes_).subspan(at), 1u << 30).frame_bytes;
    }
    bytes_[at + 6] = std::byte{4};
    return *this;
  }
  std::vector<Frame> run(RawClient& client) {
    client.send_bytes(bytes_);
    std::vector<Frame> answers;
    for (std::size_t i = 0; i < count_; ++i) answers.push_back(client.must_receive());
    bytes_.clear();
    count_ = 0;
    return answers;
  }

private:
  proto::Bytes bytes_;
  std::size_t count_ = 0;
};

}  // namespace

TEST_CASE("changes and their commit in one send are published together, and last") {
  Daemon daemon{one_store};
  const auto small = pattern(100, 1);
  const auto large = pattern(20'000, 2);
  {
    RawClient writer = transactions(daemon);
    RawClient reader = opened(daemon, proto::Access::read);
    const std::uint64_t before = version_of(reader);
    Pipeline pipeline;
    pipeline.add(proto::GrowRequest{2});
    for (std::uint64_t i = 0; i < 20; ++i) pipeline.add(proto::WriteRequest{i * 1000, small});
    pipeline.add(proto::WriteRequest{page + 7, large}).add(proto::ZeroRequest{1000, 10}).add(proto::CommitRequest{});
    const auto answers = pipeline.run(writer);
    for (const Frame& answer : answers) CHECK(answer.status() == Status::ok);
    CHECK(answers.back().header.operation == Operation::commit);
    CHECK(answers.back().as<proto::CommitAnswer>().version.number == before + 1);
    CHECK(version_of(reader) == before + 1);
    CHECK(reader.read(page + 7, 20'000) == large);
  }
  daemon.kill_hard();
  daemon.start_again();
  RawClient reader = opened(daemon, proto::Access::read);
  CHECK(reader.read(page + 7, 20'000) == large);
  CHECK(reader.read(0, 100) == small);
}

TEST_CASE("a change that is refused in the middle of a transaction keeps all of it from being published") {
  const bool flushes = GENERATE(true, false);
  TempDir dir;
  std::ofstream(dir.file("c.json")) << R"({"limits": {"size_bytes_max": "1MiB"}})";
  Daemon daemon({"--config", "{dir}/c.json", "--store", "demo={dir}/demo.img"}, &dir);
  RawClient writer = transactions(daemon);
  RawClient reader = opened(daemon, proto::Access::read);
  writer.grow(2);
  writer.flush();
  const std::uint64_t before = version_of(reader);
  const auto data = pattern(50, 3);
  const auto too_long = pattern((1u << 20) + 1, 4);
  Pipeline pipeline;
  pipeline.add(proto::GrowRequest{1});
  for (std::uint64_t i = 0; i < 5; ++i) pipeline.add(proto::WriteRequest{i * 100, data});
  Status status = Status::out_of_bounds;
  std::string operation = "write";
  SECTION("a write out of bounds") { pipeline.add(proto::WriteRequest{3 * page, data}); }
  SECTION("a write longer than a request may be") {
    pipeline.add(proto::WriteRequest{0, too_long});
    status = Status::limit_exceeded;
  }
  SECTION("a write with a header that no request has") {
    pipeline.add(proto::WriteRequest{0, data}).spoil_last_header();
    status = Status::protocol_error;
  }
  SECTION("a grow over the limit") {
    pipeline.add(proto::GrowRequest{14});
    status = Status::limit_exceeded;
    operation = "grow";
  }
  SECTION("a zero out of bounds") {
    pipeline.add(proto::ZeroRequest{0, 4 * page});
    operation = "zero";
  }
  for (std::uint64_t i = 5; i < 10; ++i) pipeline.add(proto::WriteRequest{i * 100, data});
  const auto answers = pipeline.add(proto::CommitRequest{}).run(writer);
  REQUIRE(answers.size() == 13);
  CHECK(answers[6].status() == status);
  for (std::size_t i = 0; i < 12; ++i) CHECK((i == 6 || answers[i].status() == Status::ok));
  CHECK(answers[12].header.operation == Operation::commit);
  CHECK(answers[12].status() == Status::invalid_argument);
  CHECK(answers[12].text().find("a " + operation + " (request 1006) was answered with " + proto::to_string(status)) !=
        std::string::npos);

  CHECK(version_of(reader) == before);
  CHECK(reader.call(proto::SizeRequest{}).as<proto::SizeAnswer>().pages == 2);
  CHECK(reader.read(0, 50) == std::vector<std::byte>(50));
  // It is all there still, to be flushed or discarded.
  CHECK(writer.read(900, 50) == data);
  CHECK(writer.grow(0) == 3);
  CHECK(writer.call(proto::CommitRequest{}).status() == Status::invalid_argument);
  if (flushes) {
    writer.flush();
    CHECK(version_of(reader) == before + 1);
    CHECK(reader.read(900, 50) == data);
  } else {
    CHECK(writer.call(proto::DiscardRequest{}).status() == Status::ok);
    CHECK(writer.read(900, 50) == std::vector<std::byte>(50));
  }
  const auto next = pipeline.add(proto::WriteRequest{70'000, data}).add(proto::CommitRequest{}).run(writer);
  CHECK(next[1].status() == Status::ok);
  CHECK(reader.read(70'000, 50) == data);
}

TEST_CASE("on_write: of small writes that are published as one, none that fails is passed over") {
  Daemon daemon{one_store};
  RawClient writer = opened(daemon, proto::Access::write);
  RawClient reader = opened(daemon, proto::Access::read);
  writer.grow(1);
  const auto data = pattern(8, 5);
  Pipeline pipeline;
  for (std::uint64_t i = 0; i < 30; ++i) pipeline.add(proto::WriteRequest{i * 10, data});
  CHECK(pipeline.add(proto::CommitRequest{}).run(writer).back().status() == Status::ok);
  for (std::uint64_t i = 0; i < 30; ++i) pipeline.add(proto::WriteRequest{i == 17 ? page : 1000 + i * 10, data});
  const auto answers = pipeline.add(proto::CommitRequest{}).run(writer);
  CHECK(answers[17].status() == Status::out_of_bounds);
  CHECK(answers[29].status() == Status::ok);
  CHECK(answers[30].status() == Status::invalid_argument);
  CHECK(answers[30].text().find("(request 1017)") != std::string::npos);
  CHECK(reader.read(1290, 8) == data);  // published when it was answered
  writer.flush();
  CHECK(writer.call(proto::CommitRequest{}).status() == Status::ok);
}

TEST_CASE("readers and forks: a commit does nothing, or is refused on the same condition") {
  Daemon daemon{one_store};
  { opened(daemon, proto::Access::write).grow(1); }
  const auto access = GENERATE(proto::Access::read, proto::Access::fork);
  RawClient client = opened(daemon, access);
  CHECK(client.call(proto::CommitRequest{}).status() == Status::ok);
  CHECK(client.call(proto::GrowRequest{UINT64_MAX}).status() != Status::ok);
  CHECK(client.call(proto::CommitRequest{}).status() == Status::invalid_argument);
  CHECK(client.call(proto::DiscardRequest{}).status() == Status::ok);
  CHECK(client.call(proto::CommitRequest{}).status() == Status::ok);
}

TEST_CASE("a writer without its lease is told so, not that a write failed") {
  Daemon daemon{one_store};
  RawClient writer = transactions(daemon);
  writer.grow(1);
  RawClient admin = opened(daemon, proto::Access::read);
  const bool had_failed = GENERATE(false, true);
  if (had_failed) CHECK(writer.call(proto::WriteRequest{page, pattern(1, 1)}).status() == Status::out_of_bounds);
  admin.call(proto::BreakLeaseRequest{}).as<proto::BreakLeaseAnswer>();
  CHECK(writer.must_receive().header.operation == Operation::lease_lost);
  CHECK(writer.call(proto::WriteRequest{0, pattern(1, 1)}).status() == Status::lease_lost);
  CHECK(writer.call(proto::CommitRequest{}).status() == Status::lease_lost);
  CHECK(admin.call(proto::SizeRequest{}).as<proto::SizeAnswer>().pages == 0);
}

TEST_CASE("a commit without the feature is unsupported, and one without a session is not possible") {
  Daemon daemon{one_store};
  RawClient client = RawClient::tcp(daemon.port());
  proto::HelloRequest hello;
  hello.payload_bytes_max = 1u << 20;
  hello.features = proto::features_all & ~(proto::feature_commit | proto::feature_faults);
  CHECK(client.call(hello).as<proto::HelloAnswer>().features == hello.features);
  CHECK(client.call(proto::CommitRequest{}).status() == Status::invalid_argument);
  client.open("demo");
  CHECK(client.call(proto::CommitRequest{}).status() == Status::unsupported);
  client.flush();
}

TEST_CASE("a commit is carried out for a client that has shut down its sending side behind it") {
  Daemon daemon{one_store};
  RawClient client = transactions(daemon);
  const auto data = pattern(100, 4);
  client.send(proto::GrowRequest{1});
  client.send(proto::WriteRequest{0, data});
  client.send(proto::CommitRequest{});
  client.end_of_stream();
  client.must_receive();
  client.must_receive();
  CHECK(client.must_receive().status() == Status::ok);
  CHECK_FALSE(client.receive());
  RawClient next = opened(daemon, proto::Access::read);
  CHECK(next.read(0, 100) == data);
}
