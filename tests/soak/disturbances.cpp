#include "tests/soak/disturbances.hpp"

#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>

#include <pageserver/open.hpp>

#include <algorithm>
#include <iterator>
#include <vector>

#include "tests/soak/actors.hpp"
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

/// Connections that do nothing, as many as the daemon takes and some more: those that work go on.
void idle_connections(Living& living, SoakStore&) {
  living.field.connections_go = true;
  living.causes |= few_descriptors;
  std::vector<RawClient> idle;
  const std::uint64_t count = 20 + living.random.below(100);
  for (std::uint64_t at = 0; at < count; ++at) {
    try {
      idle.push_back(RawClient::local(living.field.socket));
      if (living.random.one_in(2)) idle.back().hello("soak idle");
    } catch (const std::exception&) {
      break;  // refused
    }
  }
  spin(living.random.below(5'000'000));
}

/// A store comes and goes; and no store is made whose file could be taken for one of another store's.
void make_and_remove(Living& living, SoakStore& store) {
  if (living.field.connections_go) return;
  RawClient client = RawClient::local(living.field.socket);
  client.hello("soak maker");
  for (const char* word : {"log", "spare", "spill", "removed", "resume"}) {
    const std::string name = store.model.name() + ".img." + word + (living.random.one_in(2) ? ".0000000001" : ".copy");
    if (client.call(proto::CreateRequest{name, 1}).status() != proto::Status::invalid_argument)
      throw Violation("a store " + name + " was made, or refused for another reason");
  }
  const auto must_be = [&](const char* what, proto::Status status, proto::Status other) {
    const bool no_room =
        living.field.no_room && (status == proto::Status::no_space || status == proto::Status::limit_exceeded);
    if (status != proto::Status::ok && status != other && !no_room && !living.field.touched)
      throw Violation(std::string("a store is ") + what + ": " + proto::to_string(status));
  };
  must_be("made", client.call(proto::CreateRequest{"extra", 1 + living.random.below(3)}).status(),
          proto::Status::already_exists);
  some_steps(living);
  must_be("removed", client.call(proto::RemoveRequest{"extra"}).status(), proto::Status::not_found);
}

/// What has no input writes nothing, and never the image's own bytes.
void write_without_input(Living& living, SoakStore& store) {
  const std::string uri = living.field.uri(Way::local, store.model.name(), "name=soak");
  const RunResult result = run({"sh", "-c", "exec \"$0\" write \"$1\" 0 <&-", pagectl_path(), uri});
  if (result.status == 0) throw Violation("pagectl write without an input ended with status 0");
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
  RunResult copy;
  // A full disk may take its pin away: then another version is there to be copied.
  for (int tries = 0; tries < 5 && (tries == 0 || copy.err.find("was given up: the disk is full") != std::string::npos);
       ++tries) {
    read.asked = now();
    copy = pagectl(
        {"copy", "--check", "--force", living.field.uri(Way::local, store.model.name(), "name=soak"), to.string()});
    read.answered = now();
  }
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

/// The next copy to the same place removes what a killed one left.
void kill_copy(Living& living, SoakStore& store) {
  if (living.field.pins_go || living.field.no_room || living.field.connections_go) return;
  const fs::path to = living.folder / "killed-copy";
  const std::string uri = living.field.uri(Way::local, store.model.name(), "name=soak");
  {
    Process copy({pagectl_path(), "copy", "--force", uri, to.string()});
    spin(living.random.below(20'000'000));
    copy.signal(SIGKILL);
    copy.wait();  // until it is gone, what it left is its own
  }
  copy_online(living, store, to);
  fs::remove(to);
  for (const auto& entry : fs::directory_iterator(living.folder)) {
    if (entry.path().filename().string().starts_with(".killed-copy"))
      throw Violation("a killed copy left " + entry.path().string() + " after the next one to that place");
  }
}

void take_copy(Living& living, SoakStore& store) {
  if (living.field.pins_go || living.field.no_room || living.field.connections_go) return;
  const fs::path to = living.folder / "online-copy";
  copy_online(living, store, to);
  fs::remove(to);
}

void ask_reports(Living& living, SoakStore& store) {
  if (living.field.connections_go) return;
  const std::string uri = living.field.uri(Way::local, store.model.name(), "name=soak");
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

bool flush_fails(Living& living, SoakStore& store) {
  ++living.field.breaks;
  break_lease(living, store);
  try {
    const auto session = open_session(living.field.uri(Way::local, store.model.name(), "access=write&wait_ms=30000"));
    session->flush();
    return false;
  } catch (const MemoryError&) {
    return true;
  }
}

/// A flush that can no longer promise anything has to fail.
void must_not_flush(Living& living, SoakStore& store) {
  if (!flush_fails(living, store))
    throw Violation("a flush of " + store.model.name() + " succeeds while its files are gone");
}

/// Another folder has the place of the store's for a while, moved or mounted there: the next start would look for the
/// image in that one.
void replace_folder(Living& living, SoakStore& store, bool by_mount) {
  living.causes |= handled;
  living.field.touched = true;
  living.status_may_be_1 = true;
  const fs::path away = store.folder.string() + ".moved";
  if (by_mount) {
    if (::mount("none", store.folder.c_str(), "tmpfs", 0, "size=1m") != 0) throw Violation("nothing can be mounted");
  } else {
    fs::rename(store.folder, away);
    fs::create_directory(store.folder);
  }
  const auto put_back = [&] {
    if (by_mount) {
      ::umount2(store.folder.c_str(), MNT_DETACH);
    } else {
      fs::remove(store.folder);
      fs::rename(away, store.folder);
    }
  };
  try {
    some_steps(living);
    must_not_flush(living, store);
  } catch (...) {
    put_back();
    throw;
  }
  put_back();
}
void other_folder(Living& living, SoakStore& store) {
  if (!store.on_small_disk) replace_folder(living, store, false);
}
void mount_over_folder(Living& living, SoakStore& store) {
  if (store.mounts) replace_folder(living, store, true);
}

/// Before a file is removed, or cut, for good: a person has this copy, and puts it there.
bool take_last_copy(Living& living, SoakStore& store) {
  living.causes |= handled;
  living.field.touched = true;
  living.status_may_be_1 = true;
  if (living.field.pins_go || living.field.no_room || living.field.connections_go) return false;  // no copy is sure
  const fs::path copy = living.folder / "online-copy";
  store.backup = copy_online(living, store, copy);
  fs::rename(copy, store.backup_path());
  return true;
}

void remove_served(Living& living, SoakStore& store, const std::vector<fs::path>& files) {
  if (!take_last_copy(living, store)) return;
  for (const fs::path& file : files) fs::remove(file);
  some_steps(living);
  store.lost = flush_fails(living, store);
}

void remove_image(Living& living, SoakStore& store) {
  remove_served(living, store, {store.image()});
  if (!store.lost && !fs::exists(store.image()))
    throw Violation("a flush of " + store.model.name() + " succeeds while its image is gone");
}
/// Where a checkpoint has brought all that those files held into the image meanwhile, a flush promises it rightly.
void remove_log(Living& living, SoakStore& store) {
  if (store.in_directory) return;  // its last session closes it, and the next one begins a log anew
  const auto files = store.siblings("log");
  if (!files.empty()) remove_served(living, store, files);
}

/// As a tool does that takes it for a text log. What it held is lost; but no flush says otherwise, and no stop.
void cut_log(Living& living, SoakStore& store) {
  if (store.in_directory || store.siblings("log").empty() || !take_last_copy(living, store)) return;
  const auto files = store.siblings("log");
  if (files.empty()) return;
  const fs::path& log = files[living.random.below(files.size())];
  store.model.distrust();
  store.lost = true;     // whatever comes of it: the copy goes there
  std::error_code gone;  // a checkpoint may just remove it
  const std::uint64_t bytes = fs::file_size(log, gone);
  if (gone || bytes == 0) return;
  fs::resize_file(log, living.random.one_in(2) ? 0 : living.random.below(bytes), gone);
  if (living.random.one_in(2)) some_steps(living);
  store.cut = !gone && flush_fails(living, store);
  const auto left = store.siblings("log");
  // One that is not the newest may be in the image already.
  if (!gone && !store.cut && !left.empty() && left.back() == log)
    throw Violation("a flush of " + store.model.name() + " succeeds while its log is cut");
}

constexpr Disturbance all[] = {
    {"paused and continued", 3, false, pause},
    {"lease broken", 10, false, break_lease},
    {"garbage sent", 3, false, send_garbage},
    {"idle connections", 2, false, idle_connections},
    {"store made and removed", 2, false, make_and_remove},
    {"write without an input", 1, false, write_without_input},
    {"copy killed", 1, false, kill_copy},
    {"online copy", 2, false, take_copy},
    {"reports", 1, false, ask_reports},
    {"disk full", 12, true, fill_disk},
    {"descriptors taken", 2, false, take_descriptors},
    {"second name while served", 2, false, give_second_name},
    {"image moved away and back while served", 2, false, move_image},
    {"folder moved away and back while served", 2, false, move_folder},
    {"another folder in its place", 1, false, other_folder},
    {"mounted over the folder", 1, false, mount_over_folder},
    {"image removed while served", 1, false, remove_image},
    {"log removed while served", 1, false, remove_log},
    {"log emptied or cut while served", 1, false, cut_log},
};

}  // namespace

std::span<const Disturbance> disturbances() { return all; }

const Disturbance& draw_disturbance(const SoakStore& store, Random& random, bool small_disk) {
  std::vector<const Disturbance*> possible;
  for (const Disturbance& one : all) {
    if (one.small_disk && !(small_disk && store.on_small_disk)) continue;
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
