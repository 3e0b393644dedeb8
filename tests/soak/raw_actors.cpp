// Clients that speak the protocol themselves: many requests in flight, and ends in the middle of a frame.
#include <cstring>

#include "tests/soak/actors.hpp"
#include "tests/support/raw_client.hpp"

namespace pageserver::test::soak {

namespace {

constexpr std::uint32_t read_bytes_max = 512u << 10;

RawClient connected(Field& field, Random& random) {
  RawClient client = random.one_in(3) ? RawClient::tcp(field.port) : RawClient::local(field.socket);
  client.hello("soak");
  return client;
}

/// The next answer; notices (a lease that went, a stop) come unasked and are followed by answers that say the same.
Frame answer(RawClient& client, std::uint64_t id) {
  for (;;) {
    Frame frame = client.must_receive();
    if (frame.is_notice()) continue;
    if (frame.header.request_id != id)
      throw Violation("the answer to request " + std::to_string(frame.header.request_id) + " came where that to " +
                      std::to_string(id) + " should be");
    return frame;
  }
}

Errc errc_of(proto::Status status) {
  switch (status) {
    case proto::Status::busy: return Errc::busy;
    case proto::Status::lease_lost: return Errc::lease_lost;
    case proto::Status::no_space: return Errc::no_space;
    case proto::Status::limit_exceeded: return Errc::limit_exceeded;
    case proto::Status::out_of_bounds: return Errc::out_of_bounds;
    case proto::Status::snapshot_too_old: return Errc::snapshot_too_old;
    case proto::Status::stopping: return Errc::connection_lost;
    case proto::Status::damaged: return Errc::damaged;
    default: return Errc::provider_error;
  }
}

Outcome outcome_of(proto::Status status) {
  switch (status) {
    case proto::Status::ok: return Outcome::done;
    case proto::Status::lease_lost: return Outcome::refused;
    case proto::Status::stopping: return Outcome::unknown;
    default: return Outcome::failed;
  }
}

/// True when the answer is ok; else it is judged.
bool ok(Field& field, const Frame& frame, const char* doing) {
  if (frame.status() == proto::Status::ok) return true;
  field.judge(errc_of(frame.status()), frame.text(), doing);
  return false;
}

bool opened(Field& field, RawClient& client, const std::string& store, proto::Access access, std::uint32_t wait_ms,
            std::uint64_t& pages, Lease* lease = nullptr) {
  proto::OpenRequest request;
  request.access = access;
  request.store = store;
  request.wait_ms = wait_ms;
  request.session_name = "soak";
  const Frame frame = answer(client, client.send(request));
  if (!ok(field, frame, "open")) return false;
  const auto answered = frame.as<proto::OpenAnswer>();
  pages = answered.pages;
  if (lease != nullptr) *lease = {answered.version.incarnation, answered.epoch};
  return true;
}

std::optional<Image> read_all(Field& field, RawClient& client, std::uint64_t pages) {
  std::vector<std::byte> bytes;
  while (bytes.size() < pages * 65536) {
    const auto length =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(read_bytes_max, pages * 65536 - bytes.size()));
    const Frame frame = answer(client, client.send(proto::ReadRequest{bytes.size(), length}));
    if (!ok(field, frame, "read")) return std::nullopt;
    const auto data = frame.as<proto::ReadAnswer>().data;
    bytes.insert(bytes.end(), data.begin(), data.end());
  }
  std::string fault;
  Image image = image_of(bytes, fault);
  must_be_whole("a raw writer", fault);
  return image;
}

/// Goes as somebody does who is killed: after a part of a write's frame, whose number nobody may ever see.
void leave(RawClient& client, StoreModel& model, Random& random, std::uint64_t pages) {
  switch (random.below(4)) {
    case 0: return;  // closes at once, with whatever is under way
    case 1: client.reset(); return;
    case 2: client.send(proto::CloseRequest{}); return;
    default: break;
  }
  Run run = some_cells(random, pages);
  run.number = model.next_number();
  const std::vector<std::byte> data = bytes_of(run);
  proto::Bytes frame;
  proto::encode(frame, 1'000'000, proto::WriteRequest{run.first * cell_bytes, data});
  client.send_bytes(std::span(frame).first(1 + random.below(frame.size() - 1)));
  if (random.one_in(2)) client.reset();
}

}  // namespace

void raw_write_session(Field& field, StoreModel& model, Random& random) {
  RawClient client = connected(field, random);
  std::uint64_t pages = 0;
  Lease lease;
  if (!opened(field, client, model.name(), proto::Access::write, static_cast<std::uint32_t>(random.below(3) * 100),
              pages, &lease))
    return field.step();
  const Time time = now();
  const auto view = read_all(field, client, pages);
  if (!view) return field.step();
  const std::uint64_t writer = model.take_over(*view, time, lease);
  const std::uint64_t batches = 1 + random.below(40);
  for (std::uint64_t batch = 0; batch < batches && !field.stop; ++batch) {
    struct Sent {
      StoreModel::Ticket ticket;
      std::uint64_t id;
    };
    std::vector<Sent> sent;
    // What fails among many is decided one by one: where room may be missing, one at a time keeps that apart.
    const std::uint64_t count = field.no_room || field.touched ? 1 : 1 + random.below(16);
    for (std::uint64_t at = 0; at < count; ++at) {
      Change change;
      change.number = model.next_number();
      Run run = some_cells(random, pages);
      run.number = change.number;
      change.runs.push_back(run);
      const std::vector<std::byte> data = bytes_of(run);
      const auto ticket = model.begin(writer, std::move(change));
      sent.push_back({ticket, client.send(proto::WriteRequest{run.first * cell_bytes, data})});
    }
    if (random.one_in(12)) break;  // nobody waits for these answers
    bool lost = false;
    for (const Sent& one : sent) {
      const Frame frame = answer(client, one.id);
      const Time answered = now();
      const Outcome outcome = outcome_of(frame.status());
      lost = lost || outcome == Outcome::refused || outcome == Outcome::unknown;
      model.end(one.ticket, outcome, answered);
      ok(field, frame, "write");
      field.step();
    }
    if (lost) return;
    if (random.one_in(6) && !ok(field, answer(client, client.send(proto::FlushRequest{})), "flush")) return;
  }
  leave(client, model, random, pages);
}

void raw_read_session(Field& field, StoreModel& model, Random& random) {
  RawClient client = connected(field, random);
  std::uint64_t pages = 0;
  if (!opened(field, client, model.name(), proto::Access::read, 0, pages)) return field.step();
  const std::uint64_t batches = 1 + random.below(40);
  for (std::uint64_t batch = 0; batch < batches && !field.stop; ++batch) {
    struct Sent {
      Read read;
      Run where;
      std::uint64_t id;
    };
    std::vector<Sent> sent;
    const std::uint64_t count = 1 + random.below(12);
    for (std::uint64_t at = 0; at < count; ++at) {
      Run where = some_cells(random, pages);
      Read read;
      read.who = "a raw reader";
      read.asked = now();
      const std::uint64_t id = client.send(
          proto::ReadRequest{where.first * cell_bytes, static_cast<std::uint32_t>(where.cells * cell_bytes)});
      sent.push_back({std::move(read), where, id});
    }
    if (random.one_in(16)) return client.reset();
    for (Sent& one : sent) {
      const Frame frame = answer(client, one.id);
      one.read.answered = now();
      if (!ok(field, frame, "read")) return;
      std::string fault;
      one.read.runs = runs_of(frame.as<proto::ReadAnswer>().data, one.where.first, fault);
      must_be_whole(one.read.who, fault);
      model.add(std::move(one.read));
      field.step();
    }
  }
}

}  // namespace pageserver::test::soak
