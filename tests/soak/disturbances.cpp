#include "tests/soak/disturbances.hpp"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include <pageserver/open.hpp>

#include <algorithm>
#include <iterator>
#include <vector>

#include "tests/soak/actors.hpp"
#include "tests/soak/gaps.hpp"
#include "tests/support/process.hpp"
#include "tests/support/raw_client.hpp"

namespace pageserver::test::soak {

namespace fs = std::filesystem;

namespace {

void some_steps(Living& living) { living.field.wait_for_steps(5 + living.random.below(60)); }

void pause(Living& living, SoakStore&) { pause_daemon(living, 20'000); }

void break_lease(Living& living, SoakStore& store) {
  ++living.field.breaks;
  RawClient client = RawClient::local(living.field.socket);
  client.hello("soak breaker");
  client.open(store.model.name(), proto::Access::read);
  client.call(proto::BreakLeaseRequest{0});
}

void send_garbage(Living& living, SoakStore&) {
  RawClient client = RawClient::local(living.field.socket);
  if (living.random.one_in(2)) client.hello("soak garbage");
  std::vector<std::byte> bytes(1 + living.random.below(300));
  for (std::byte& one : bytes) one = static_cast<std::byte>(living.random.next());
  client.send_bytes(bytes);
  if (living.random.one_in(2)) client.reset();
}

RunResult pagectl(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), pagectl_path());
  return run(std::move(arguments));
}

/// An online copy is a pin, taken at some moment of it.
Image copy_online(Living& living, SoakStore& store, const fs::path& to) {
  Read read;
  read.who = "pagectl copy";
  read.asked = now();
  const RunResult copy =
      pagectl({"copy", "--check", living.field.uri(false, store.model.name(), "name=soak"), to.string()});
  read.answered = now();
  if (copy.status != 0) throw Violation("pagectl copy of " + store.model.name() + " failed: " + copy.err);
  std::ifstream in(to, std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(in), {}};
  std::string fault;
  Image image = image_of(std::as_bytes(std::span(bytes)), fault);
  must_be_whole(read.who, fault);
  read.pages = image.pages();
  read.runs = runs_of(image);
  store.model.add(std::move(read));
  return image;
}

void take_copy(Living& living, SoakStore& store) {
  if (living.field.pins_go || living.field.no_room || living.field.connections_go) return;
  const fs::path to = living.folder / "online-copy";
  copy_online(living, store, to);
  fs::remove(to);
}

void ask_reports(Living& living, SoakStore& store) {
  if (living.field.connections_go) return;
  const std::string uri = living.field.uri(false, store.model.name(), "name=soak");
  for (const char* command : {"info", "lease"}) {
    const RunResult result = pagectl({command, "--json", uri});
    if (result.status != 0) throw Violation(std::string("pagectl ") + command + " failed: " + result.err);
  }
}

void fill_disk(Living& living, SoakStore&) {
  living.field.no_room = true;
  some_steps(living);  // what was under way without knowing
  const std::uint64_t left[] = {0, 4096, 64u << 10, 512u << 10, 2u << 20};
  living.take_room(left[living.random.below(std::size(left))]);
  some_steps(living);
  if (living.random.one_in(2)) living.give_room();  // else the life goes on, and maybe the next one, without
}

/// Few descriptors are left: a file of the log or a connection lacks one.
void take_descriptors(Living& living, SoakStore&) {
  living.field.no_room = true;
  living.field.connections_go = true;
  living.field.pins_go = true;
  living.causes |= few_descriptors;
  some_steps(living);
  const std::uint64_t was = living.daemon.limit_open_files(living.daemon.open_files() + living.random.below(4));
  // Those without a connection wait for one, so that no count of steps is sure to come.
  spin(living.random.below(20'000'000));
  living.daemon.limit_open_files(was);
  some_steps(living);
}

void give_second_name(Living& living, SoakStore& store) {
  living.causes |= second_name;
  if (store.in_directory) living.field.touched = true;  // it may be opened meanwhile, which is refused
  const fs::path name = store.folder / ("second-name-of-" + store.file_name() + ".link");
  fs::create_hard_link(store.image(), name);
  try {
    some_steps(living);
  } catch (...) {
    fs::remove(name);
    throw;
  }
  fs::remove(name);
}

/// Moved where `to` says and back after some steps, in which errors may be met, but nothing be lost.
void move_and_back(Living& living, const fs::path& from, const fs::path& to) {
  living.causes |= handled;
  living.field.touched = true;
  living.status_may_be_1 = true;
  fs::rename(from, to);
  try {
    some_steps(living);
  } catch (...) {
    fs::rename(to, from);
    throw;
  }
  fs::rename(to, from);
}

void move_image(Living& living, SoakStore& store) {
  move_and_back(living, store.image(), store.folder / ("moved-" + store.file_name() + ".away"));
}

void move_folder(Living& living, SoakStore& store) {
  if (store.on_small_disk) return;  // a mount does not move
  move_and_back(living, store.folder, store.folder.string() + ".moved");
}

/// A flush that can no longer promise anything has to fail.
void must_not_flush(Living& living, SoakStore& store) {
  ++living.field.breaks;
  break_lease(living, store);
  try {
    const auto session = open_session(living.field.uri(false, store.model.name(), "access=write&wait_ms=30000"));
    session->flush();
  } catch (const MemoryError&) {
    return;
  }
  throw Violation("a flush of " + store.model.name() + " succeeds while its files are gone");
}

/// The image, or its log, is removed for good. A person has the copy that was taken before, and puts it there.
void remove_served(Living& living, SoakStore& store, const std::vector<fs::path>& files) {
  living.causes |= handled;
  living.field.touched = true;
  living.status_may_be_1 = true;
  if (living.field.pins_go || living.field.no_room || living.field.connections_go) return;  // then no copy is sure
  const fs::path copy = living.folder / "online-copy";
  store.backup = copy_online(living, store, copy);
  fs::rename(copy, store.backup_path());
  for (const fs::path& file : files) fs::remove(file);
  some_steps(living);
  must_not_flush(living, store);
  store.lost = true;
}

void remove_image(Living& living, SoakStore& store) { remove_served(living, store, {store.image()}); }
void remove_log(Living& living, SoakStore& store) {
  if (store.in_directory) return;  // its last session closes it, and the next one begins a log anew
  const auto files = store.siblings("log");
  if (!files.empty()) remove_served(living, store, files);
}

constexpr Disturbance all[] = {
    {"paused and continued", 3, false, pause},
    {"lease broken", 10, false, break_lease},
    {"garbage sent", 3, false, send_garbage},
    {"online copy", 2, false, take_copy},
    {"reports", 1, false, ask_reports},
    {"disk full", 12, true, fill_disk},
    {"descriptors taken", 2, false, take_descriptors},
    {"second name while served", 2, false, give_second_name},
    {"image moved away and back while served", 2, false, move_image},
    {"folder moved away and back while served", 2, false, move_folder},
    {"image removed while served", 1, false, remove_image},
    {"log removed while served", 1, false, remove_log},
};

}  // namespace

std::span<const Disturbance> disturbances() { return all; }

const Disturbance& draw_disturbance(const SoakStore& store, Random& random, bool small_disk) {
  std::vector<const Disturbance*> possible;
  for (const Disturbance& one : all) {
    if (is_gap(one.name) || (one.small_disk && !(small_disk && store.on_small_disk))) continue;
    possible.insert(possible.end(), one.weight, &one);
  }
  return *possible[random.below(possible.size())];
}

void pause_daemon(Living& living, std::uint64_t microseconds_max) {
  living.daemon.signal(SIGSTOP);
  siginfo_t stopped{};
  while (::waitid(P_PID, static_cast<id_t>(living.daemon.pid()), &stopped, WSTOPPED) != 0) {
  }
  // How long it stands still is what is varied here; nothing is waited for.
  const timespec time{0, static_cast<long>(1000 * living.random.below(microseconds_max))};
  ::nanosleep(&time, nullptr);
  living.daemon.signal(SIGCONT);
}

void spin(std::uint64_t turns) {
  for (volatile std::uint64_t turn = 0; turn < turns;) turn = turn + 1;
}

}  // namespace pageserver::test::soak
