#include "tests/soak/soak.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <pageserver/open.hpp>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <thread>

#include "tests/soak/actors.hpp"
#include "tests/soak/file_cases.hpp"
#include "tests/support/raw_client.hpp"

namespace pageserver::test::soak {

namespace fs = std::filesystem;

namespace {

/// Actors on threads of their own. However this ends, so do they: their daemon is killed first if it has to be.
class Crew {
public:
  Crew(Field& field, const DaemonProcess& daemon) : field_{field}, daemon_{daemon} {}
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;
  ~Crew() {
    field_.stop = true;
    field_.ending = true;
    if (!threads_.empty()) daemon_.signal(SIGKILL);
    join();
  }
  void add(Role role, StoreModel& model, std::uint64_t seed) {
    threads_.emplace_back([role, this, &model, seed] { act(role, field_, model, seed); });
  }
  void join() {
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

private:
  Field& field_;
  const DaemonProcess& daemon_;
  std::vector<std::thread> threads_;
};

Image read_through(Field& field, const std::string& store) {
  const auto session = open_session(field.uri(Way::local, store, "access=read&view=pinned&name=soak-settles"));
  std::vector<std::byte> bytes(session->pages() * page_size);
  session->read(0, bytes);
  std::string fault;
  Image image = image_of(bytes, fault);
  must_be_whole("who looks after a life", fault);
  return image;
}

}  // namespace

Soak::Soak(std::uint64_t seed, fs::path root, fs::path small_disk, const Certificates& certificates, Counts& counts)
    : seed_{seed},
      root_{std::move(root)},
      small_disk_{std::move(small_disk)},
      certificates_{certificates},
      counts_{counts} {
  const auto add = [&](const char* name, const fs::path& folder) -> SoakStore& {
    fs::create_directories(folder);
    stores_.push_back(std::make_unique<SoakStore>(name, folder));
    return *stores_.back();
  };
  mounts_ = !small_disk_.empty();
  add("a", root_ / "main");
  add("d", root_ / "directory").in_directory = true;
  SoakStore& small = add("s", small_disk_.empty() ? root_ / "small" : small_disk_);
  small.on_small_disk = !small_disk_.empty();
  Random random{seed_};
  for (const auto& store : stores_) {
    Image image;
    image.cells.resize((1 + random.below(6)) * cells_per_page);
    std::ofstream{store->image()}.close();
    fs::resize_file(store->image(), image.cells.size() * cell_bytes);
    store->model.replace(std::move(image));
    store->mounts = mounts_;
    if (!store->on_small_disk)
      bystanders_.push_back(std::make_unique<KeptFiles>(store->folder, neighbours_of(store->file_name())));
  }
}

void Soak::note(const std::string& what) {
  events_.push_back(what);
  if (events_.size() > 120) events_.pop_front();
}

std::string Soak::story() const {
  std::string all = "PAGESERVER_SOAK_SEED=" + std::to_string(seed_) + "\nthe last decisions:\n";
  for (const std::string& event : events_) all += "  " + event + "\n";
  for (const auto& store : stores_) all += store->model.recent();
  return all;
}

DaemonProcess::Options Soak::options(const Plan& plan) const {
  const fs::path config = root_ / "config.json";
  std::ofstream{config} << plan.config;
  DaemonProcess::Options options;
  options.log = root_ / "daemon.log";
  options.port_file = root_ / "port";
  options.streams = plan.streams;
  options.open_files = plan.open_files;
  options.file_size_bytes = plan.file_size_bytes;
  // A log that was written without a limit can't be recovered under one, and the start says so.
  for (const auto& store : stores_)
    for (const fs::path& file : store->siblings("log"))
      if (fs::file_size(file) > options.file_size_bytes) options.file_size_bytes = 0;
  options.argv = {pageserverd_path(),
                  "--config",
                  config.string(),
                  "--listen",
                  "127.0.0.1:0",
                  "--listen-tls",
                  "127.0.0.1:0",
                  "--tls-certificate",
                  certificates_.certificate("server"),
                  "--tls-key",
                  certificates_.key("server"),
                  "--unix",
                  (root_ / "socket").string(),
                  "--port-file",
                  options.port_file.string()};
  for (const auto& store : stores_) {
    const std::string path =
        store->in_directory ? store->folder.string() : store->model.name() + "=" + store->image().string();
    options.argv.insert(options.argv.end(), {store->in_directory ? "--directory" : "--store", path});
  }
  options.argv.insert(options.argv.end(), {"--allow-create", "--allow-remove"});
  return options;
}

void Soak::go(std::uint64_t lives, std::chrono::steady_clock::time_point until) {
  const auto goes_on = [&] { return std::chrono::steady_clock::now() < until || counts_.kills == 0; };
  for (std::uint64_t number = 0; number < lives && goes_on(); ++number) {
    const Plan plan = draw_plan(seed_, number, stores_.size());
    Random random{seed_ * 7'000'003 + number};
    kill_in_recovery(plan, random);
    if (random.one_in(4)) handle_files(plan, random);
    live(plan, random);
    for (const auto& bystander : bystanders_) {
      if (const std::string changed = bystander->changed(); !changed.empty())
        throw Violation("what lay beside an image was changed: " + changed);
    }
  }
  // Once more in order, so that all of the last life is looked at.
  Plan last = draw_plan(seed_, lives, stores_.size());
  last.how = End::stop;
  last.disturbances = 0;
  Random random{seed_ + lives};
  live(last, random);
  for (const auto& store : stores_) {
    counts_.changes += store->model.changes_in_all();
    counts_.reads += store->model.reads_in_all();
  }
}

/// A daemon that is killed, or told to stop, before it serves, once or several times.
void Soak::kill_in_recovery(const Plan& plan, Random& random) {
  while (random.one_in(4)) {
    const std::uint64_t turns = random.below(8'000'000);
    const bool told = random.one_in(3), twice = random.one_in(2);
    note("life " + std::to_string(plan.number) + (told ? ": told to stop" : ": killed") + " in its start after " +
         std::to_string(turns) + " turns");
    DaemonProcess daemon{options(plan)};
    spin(turns);
    daemon.signal(told ? SIGTERM : SIGKILL);
    if (told && twice) daemon.signal(SIGTERM);
    const int status = daemon.wait();
    Causes causes = plan.open_files != 0 ? few_descriptors : none;
    if (!told) {
      ++counts_.kills;
    } else {
      // Before the program's first lines a signal has its usual effect.
      const bool at_once = status == 1 && twice;
      if (status != 0 && status != 128 + SIGTERM && !at_once)
        throw Violation("a start that was told to stop ended with status " + std::to_string(status) + ":\n" +
                        daemon.log());
      if (twice) causes |= second_signal;
      ++counts_.stops;
    }
    look_at_log(daemon, causes);
  }
}

void Soak::handle_files(const Plan& plan, Random& random) {
  SoakStore& store = *stores_[random.below(stores_.size())];
  const FileCase* const one = draw_file_case(store, random);
  if (one == nullptr) return;
  if (store.on_small_disk) give_room();  // people need some for what they do
  note("life " + std::to_string(plan.number) + ": before it, with store " + store.model.name() + ": " + one->name);
  ++counts_.cases;
  const bool may_be_taken = one->expect == Expect::refused_then_backup && !has_records(store);
  one->act(store);
  if (may_be_taken) {
    // Nothing would be mixed. Refused it may be all the same.
    for (const fs::path& file : store.siblings()) fs::remove(file);
  } else if (one->expect == Expect::refused || one->expect == Expect::refused_then_backup) {
    start_refused(plan, store, one->says);
    one->remedy(store);
  }
  if (one->expect == Expect::backup || one->expect == Expect::refused_then_backup) {
    store.model.end_life_unseen();
    store.model.replace(*store.backup);
  }
}

void Soak::start_refused(const Plan& plan, SoakStore& store, const std::string& says) {
  Plan plain = plan;
  plain.streams = Streams::file;
  plain.open_files = plain.file_size_bytes = 0;
  DaemonProcess daemon{options(plain)};
  std::string said;
  if (!daemon.wait_until_serving()) {
    const int status = daemon.wait();
    said = daemon.log();
    if (status != 1) throw Violation("a refused start ended with status " + std::to_string(status) + ":\n" + said);
    if (store.in_directory) throw Violation("one store of a directory is refused, and with it all:\n" + said);
  } else {
    Field field;
    field.socket = (root_ / "socket").string();
    try {
      read_through(field, store.model.name());
    } catch (const MemoryError& error) {
      said = error.what();
    }
    if (said.empty() || !store.in_directory)
      throw Violation("store " + store.model.name() + " is served as if nothing had happened to its files");
    daemon.signal(SIGTERM);
    daemon.wait();
  }
  if (said.find(says) == std::string::npos) throw Violation("the refusal does not say \"" + says + "\": " + said);
  look_at_log(daemon, refused_start | handled);
}

/// The files of a store were removed or cut while it was served: the start is refused where a log is left, and the
/// person puts the copy there.
void Soak::replace_lost() {
  for (const auto& store : stores_) {
    if (!store->lost) continue;
    store->lost = store->cut = false;
    if (!fs::exists(store->image()) && !store->siblings("log").empty())
      start_refused(draw_plan(seed_, 0, stores_.size()), *store, "is still there");
    for (const fs::path& file : store->siblings()) fs::remove(file);
    fs::remove(store->image());
    copy_bytes(store->backup_path(), store->image());
    store->model.end_life_unseen();
    store->model.replace(*store->backup);
  }
}

void Soak::live(const Plan& plan, Random& random) {
  if (no_room_ && random.one_in(2)) give_room();
  std::vector<std::string> to_recover;
  for (const auto& store : stores_)
    if (!store->siblings("log").empty()) to_recover.push_back(store->model.name());
  DaemonProcess daemon{options(plan)};
  if (!daemon.wait_until_serving()) throw Violation("the daemon does not start:\n" + daemon.log());
  ++counts_.lives;
  Field field;
  field.socket = (root_ / "socket").string();
  field.port = daemon.port();
  field.tls_port = daemon.tls_port();
  field.tls_ca = certificates_.certificate("ca");
  field.no_room = no_room_ || plan.file_size_bytes != 0 || plan.open_files != 0;
  field.pins_go = plan.held_little;
  if (!plan.held_little) field.small_disk = small_disk_.string();
  field.connections_go = plan.open_files != 0;
  Causes causes = plan.open_files != 0 ? few_descriptors : none;
  if (plan.streams == Streams::stalled) causes |= stalled_streams;
  Living living{daemon, field, random, root_, causes, false, {}, {}};
  living.take_room = [this](std::uint64_t left) { no_room_ = take_all_room_but(left); };
  living.give_room = [this] { give_room(); };
  settle(field);
  check_reports(field, to_recover);
  bool in_order = false;
  {
    Crew crew{field, daemon};
    for (const Plan::Actor& actor : plan.actors) crew.add(actor.role, stores_[actor.store]->model, actor.seed);
    disturb(plan, living);
    in_order = end(plan, living);
    field.stop = true;
    crew.join();
  }
  counts_.refusals += field.refusals;
  counts_.leases_lost += field.leases_lost;
  counts_.versions_given_up += field.versions_given_up;
  if (const std::string violation = field.violation(); !violation.empty()) throw Violation(violation);
  look_at_log(daemon, living.causes);
  if (plan.streams == Streams::file) {
    const std::string log = daemon.log();
    for (const std::string& name : to_recover) {
      if (!says_recovered(log, name))
        throw Violation("store " + name + " had a log, and the daemon does not say that it recovered it:\n" + log);
    }
  }
  // Without its log a stop can still bring all into the image, and says 0 then: so it has to be there.
  if (in_order)
    for (const auto& store : stores_) store->lost = store->model.distrusted();
  replace_lost();
  if (in_order)
    look_after_stop();
  else
    keep_before();
}

/// What was replayed is in the list, of each store that had a log, and of no other.
void Soak::check_reports(const Field& field, const std::vector<std::string>& recovered) {
  if (field.connections_go) return;
  RawClient client = RawClient::local(field.socket);
  client.hello("soak list");
  const Frame frame = client.call(proto::ListRequest{});
  for (const proto::ListEntry& entry : frame.as<proto::ListAnswer>().entries) {
    const bool had_log = std::count(recovered.begin(), recovered.end(), entry.store) != 0;
    if (entry.recovery.has_value() != had_log || entry.recovery_warned)
      throw Violation("the list says of store " + std::string(entry.store) + " that it was " +
                      (entry.recovery ? "" : "not ") + "recovered" + (entry.recovery_warned ? ", with a warning" : ""));
  }
}

/// What the life before left must be what it may have left.
void Soak::settle(Field& field) {
  for (const auto& store : stores_) {
    try {
      store->model.end_life(read_through(field, store->model.name()));
    } catch (const MemoryError& error) {
      throw Violation("store " + store->model.name() + " can't be read after its start: " + error.what());
    }
  }
}

void Soak::disturb(const Plan& plan, Living& living) {
  for (unsigned at = 0; at < plan.disturbances; ++at) {
    living.field.wait_for_steps(1 + living.random.below(plan.steps));
    if (!living.field.violation().empty()) return;
    SoakStore& store = *stores_[plan.active[living.random.below(plan.active.size())]];
    const Disturbance& one = draw_disturbance(store, living.random, !small_disk_.empty());
    note("life " + std::to_string(plan.number) + ": store " + store.model.name() + ": " + one.name);
    ++counts_.disturbances;
    try {
      one.act(living, store);
    } catch (const Violation&) {
      throw;
    } catch (const std::exception& error) {
      if (!living.field.connections_go) throw Violation(std::string(one.name) + ": " + error.what());
    }
    if (store.lost) return;
  }
}

bool Soak::end(const Plan& plan, Living& living) {
  living.field.wait_for_steps(1 + living.random.below(plan.steps));
  spin(plan.turns % 200'000);
  note("life " + std::to_string(plan.number) + ": " + to_string(plan.how) + ", " + std::to_string(plan.turns) +
       " turns");
  living.field.ending = true;
  DaemonProcess& daemon = living.daemon;
  switch (plan.how) {
    case End::kill_paused: daemon.signal(SIGSTOP); break;
    case End::kill_in_stop:
    case End::two_signals:
    case End::stop:
      daemon.signal(SIGTERM);
      if (plan.how != End::stop) spin(plan.turns);
      break;
    case End::kill: break;
  }
  if (plan.how == End::two_signals) {
    living.causes |= second_signal;
    living.status_may_be_1 = true;
    daemon.signal(SIGTERM);
  } else if (plan.how != End::stop) {
    daemon.signal(SIGKILL);
  }
  const int status = daemon.wait();
  if (status == 128 + SIGKILL && plan.how != End::stop && plan.how != End::two_signals) {
    ++counts_.kills;
    return false;
  }
  const bool gone = std::any_of(stores_.begin(), stores_.end(), [](const auto& store) {
    return store->lost && (store->cut || !fs::exists(store->image()));
  });
  if (gone && status == 0) throw Violation("a stop that leaves what was flushed nowhere says 0:\n" + daemon.log());
  if (status != 0 && !(status == 1 && living.status_may_be_1))
    throw Violation("the stop ended with status " + std::to_string(status) + ":\n" + daemon.log());
  ++counts_.stops;
  return status == 0;
}

/// After a stop in order there are only the images, and they are the newest state.
void Soak::look_after_stop() {
  for (const auto& store : stores_) {
    const auto left = store->siblings();
    if (!left.empty()) throw Violation("a stop with status 0 left " + left.front().string());
    store->model.end_life(store->read());
  }
}

/// What a kill left, as it is before anybody recovers it: of the last kill, for whoever looks into a violation.
void Soak::keep_before() {
  const fs::path before = root_ / "before";
  fs::remove_all(before);
  fs::create_directory(before);
  for (const auto& store : stores_) {
    if (store->bytes() > (64u << 20)) continue;
    std::vector<fs::path> files = store->siblings();
    if (fs::exists(store->image())) files.push_back(store->image());
    for (const fs::path& file : files) fs::copy_file(file, before / file.filename());
  }
}

void Soak::look_at_log(const DaemonProcess& daemon, Causes causes) {
  const auto complaints = complaints_without_cause(daemon.log(), causes);
  if (!complaints.empty())
    throw Violation("the daemon complained without a cause that is known: " + complaints.front() + "\n" + daemon.log());
}

void Soak::give_room() {
  if (no_room_) fs::remove(small_disk_ / "ballast");
  no_room_ = false;
}

bool Soak::take_all_room_but(std::uint64_t left) {
  struct statvfs disk {};
  if (::statvfs(small_disk_.c_str(), &disk) != 0) return false;
  const std::uint64_t free = disk.f_bavail * disk.f_frsize;
  const fs::path ballast = small_disk_ / "ballast";
  const std::uint64_t had = fs::exists(ballast) ? fs::file_size(ballast) : 0;
  const int fd = ::open(ballast.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return false;
  // The daemon takes room meanwhile: what is not there any more is left to it.
  if (free > left && ::posix_fallocate(fd, 0, static_cast<off_t>(had + free - left)) != 0)
    (void)!::ftruncate(fd, static_cast<off_t>(had));
  ::close(fd);
  return true;
}

}  // namespace pageserver::test::soak
