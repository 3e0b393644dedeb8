#include "tests/soak/actors.hpp"

#include <pageserver/open.hpp>

#include <algorithm>
#include <memory>
#include <stdexcept>

namespace pageserver::test::soak {

namespace {

/// As the writer or the fork that it belongs to should see it; a difference is a broken promise.
void check_view(const std::string& who, Session& session, const Image& view, const Run& where) {
  std::vector<std::byte> bytes(where.cells * cell_bytes);
  session.read(where.first * cell_bytes, bytes);
  std::string fault;
  const std::vector<Run> runs = runs_of(bytes, where.first, fault);
  must_be_whole(who, fault);
  for (const Run& run : runs) {
    for (std::uint64_t cell = run.first; cell < run.first + run.cells; ++cell) {
      if (view.cells[cell] != run.number)
        throw Violation(who + " reads number " + std::to_string(run.number) + " in cell " + std::to_string(cell) +
                        ", where its own " + std::to_string(view.cells[cell]) + " should be");
    }
  }
}

Image read_all(const std::string& who, Session& session) {
  std::vector<std::byte> bytes(session.pages() * page_size);
  session.read(0, bytes);
  std::string fault;
  Image image = image_of(bytes, fault);
  must_be_whole(who, fault);
  return image;
}

std::string cache_of(Random& random) {
  switch (random.below(4)) {
    case 0: return "&cache_bytes=256KiB";  // pages come and go
    case 1: return "&cache_bytes=4MiB";
    default: return "";
  }
}

/// Most are on the daemon's machine, and of the others half have TLS.
Way draw_way(Random& random) {
  if (!random.one_in(3)) return Way::local;
  return random.one_in(2) ? Way::tls : Way::tcp;
}

Outcome outcome_of(const MemoryError& error) {
  switch (error.errc()) {
    case Errc::connection_lost:
    case Errc::timed_out:
    case Errc::protocol_error: return Outcome::unknown;
    case Errc::lease_lost: return Outcome::refused;
    default: return Outcome::failed;
  }
}

/// A writer through the library: each write is a publish, or transactions are.
class Writer {
public:
  Writer(Field& field, StoreModel& model, Random& random) : field_{field}, model_{model}, random_{random} {}

  void run() {
    on_flush_ = random_.one_in(2);
    const std::string query = "access=write&publish=" + std::string(on_flush_ ? "on_flush" : "on_write") +
                              "&wait_ms=" + std::to_string(random_.below(3) * 100) + cache_of(random_);
    session_ = open_session(field_.uri(draw_way(random_), model_.name(), query));
    const Time opened = now();
    view_ = read_all("a writer", *session_);
    const Stat stat = session_->stat();  // throws where the lease has gone meanwhile
    writer_ = model_.take_over(view_, opened, {stat.version.incarnation, stat.writer ? stat.writer->epoch : 0});
    published_ = view_;
    const std::uint64_t operations = 1 + random_.below(200);
    for (std::uint64_t at = 0; at < operations && !field_.stop; ++at) {
      on_flush_ ? transaction() : publish();
      field_.step();
    }
  }

private:
  /// A change of one request: what it does is drawn, and added to `change` and to the view.
  void draw(Change& change) {
    const std::uint64_t kind = random_.below(20);
    if (kind == 0 && view_.pages() < pages_max) {
      ++change.grown_pages;
      return;
    }
    Run run = some_cells(random_, view_.pages());
    run.number = change.number;
    if (kind == 1) {
      // Zeros where something is, so that it shows.
      const auto begin = view_.cells.begin() + static_cast<std::ptrdiff_t>(run.first);
      if (std::any_of(begin, begin + static_cast<std::ptrdiff_t>(run.cells),
                      [](std::uint64_t one) { return one != 0; }))
        run.number = 0;
    }
    change.runs.push_back(run);
  }
  void send(const Run& run) {
    if (run.number == 0)
      session_->zero(run.first * cell_bytes, run.cells * cell_bytes);
    else
      session_->write(run.first * cell_bytes, bytes_of(run));
  }

  void publish() {
    const std::uint64_t kind = random_.below(10);
    if (kind == 0) return check_view("a writer", *session_, view_, some_cells(random_, view_.pages()));
    if (kind == 1) {
      try {
        return session_->flush();
      } catch (const MemoryError& error) {
        return go_on_after(error, "flush");
      }
    }
    Change change;
    change.number = model_.next_number();
    draw(change);
    const auto ticket = model_.begin(writer_, change);
    try {
      if (change.grown_pages != 0)
        session_->grow(change.grown_pages);
      else
        send(change.runs.front());
      model_.end(ticket, Outcome::done, now());
      view_.apply(change);
    } catch (const MemoryError& error) {
      model_.end(ticket, outcome_of(error), now());
      go_on_after(error, "write");
    }
  }

  void transaction() {
    Change change;
    change.number = model_.next_number();
    try {
      const std::uint64_t parts = 1 + random_.below(6);
      for (std::uint64_t part = 0; part < parts; ++part) draw_private(change);
      if (random_.one_in(4)) check_view("a writer", *session_, view_, some_cells(random_, view_.pages()));
    } catch (const MemoryError& error) {
      go_on_after(error, "private write");
      return drop();
    }
    if (random_.one_in(10)) return drop();
    // Whatever was drawn, this shows whether the transaction is there.
    Run mark{random_.below(view_.cells.size()), 1, change.number};
    try {
      send(mark);
    } catch (const MemoryError& error) {
      go_on_after(error, "private write");
      return drop();
    }
    change.runs.push_back(mark);
    view_.apply(mark);
    const auto ticket = model_.begin(writer_, change);
    try {
      session_->flush();
      model_.end(ticket, Outcome::done, now());
      published_ = view_;
    } catch (const MemoryError& error) {
      // While files are away the flush fails, and the transaction is in the log, and visible, all the same: the next
      // writer finds it whole or not at all.
      const bool open = field_.touched && outcome_of(error) == Outcome::failed;
      model_.end(ticket, open ? Outcome::unknown : outcome_of(error), now());
      go_on_after(error, "commit");
      if (open) throw;
      drop();
    }
  }
  void draw_private(Change& change) {
    Change one;
    one.number = change.number;
    draw(one);
    if (one.grown_pages != 0) {
      // Before the runs, as the whole is carried out: new pages are zeros where none of them is written.
      session_->grow(one.grown_pages);
      change.grown_pages += one.grown_pages;
    } else {
      send(one.runs.front());
      change.runs.push_back(one.runs.front());
    }
    view_.apply(one);
  }
  void drop() {
    session_->discard();
    view_ = published_;
  }
  /// Ends the session by throwing unless it can go on.
  void go_on_after(const MemoryError& error, const char* doing) {
    field_.judge(error, doing);
    if (outcome_of(error) != Outcome::failed) throw error;
  }

  Field& field_;
  StoreModel& model_;
  Random& random_;
  std::unique_ptr<Session> session_;
  bool on_flush_ = false;
  std::uint64_t writer_ = 0;
  Image view_;       // what this session sees
  Image published_;  // what is there without its private bytes
};

void read_into(Read& read, Session& session, const Run& where) {
  std::vector<std::byte> bytes(where.cells * cell_bytes);
  session.read(where.first * cell_bytes, bytes);
  std::string fault;
  const std::vector<Run> runs = runs_of(bytes, where.first, fault);
  must_be_whole(read.who, fault);
  read.runs.insert(read.runs.end(), runs.begin(), runs.end());
}

/// All that a pin saw of one version is one read, however long it took: told to the model when it moves on or ends.
class PinnedRead {
public:
  PinnedRead(StoreModel& model, std::string who) : model_{model} { read.who = std::move(who); }
  PinnedRead(const PinnedRead&) = delete;
  PinnedRead& operator=(const PinnedRead&) = delete;
  ~PinnedRead() { tell(); }

  void add(const Image& whole) {
    const std::vector<Run> runs = runs_of(whole);
    read.runs.insert(read.runs.end(), runs.begin(), runs.end());
    read.pages = whole.pages();
  }
  void moved(Time asked, Time answered) {
    tell();
    read.asked = asked;
    read.answered = answered;
    read.pages = 0;
    read.runs.clear();
  }

  Read read;

private:
  void tell() {
    if (read.answered != 0 && (read.pages != 0 || !read.runs.empty())) model_.add(read);
  }
  StoreModel& model_;
};

/// What changed between two versions must be in what the daemon said changed.
void check_changed(const Image& before, const Image& after, const Refreshed& refreshed) {
  if (refreshed.everything) return;
  std::vector<bool> said(after.cells.size());
  for (const ByteRange& range : refreshed.changed)
    for (std::uint64_t cell = range.offset / cell_bytes; cell * cell_bytes < range.offset + range.length; ++cell)
      said[cell] = true;
  for (std::size_t cell = 0; cell < after.cells.size(); ++cell) {
    const std::uint64_t old = cell < before.cells.size() ? before.cells[cell] : 0;
    if (old != after.cells[cell] && !said[cell])
      throw Violation("refresh did not say that cell " + std::to_string(cell) + " changed from " + std::to_string(old) +
                      " to " + std::to_string(after.cells[cell]));
  }
}

}  // namespace

const char* to_string(Role role) {
  static constexpr const char* names[role_count] = {"writer", "raw writer", "reader", "raw reader", "pin", "fork"};
  return names[static_cast<unsigned>(role)];
}

Run some_cells(Random& random, std::uint64_t pages) {
  const std::uint64_t all = pages * cells_per_page;
  const std::uint64_t size = random.below(20);
  const std::uint64_t most = size < 12 ? 64 : size < 18 ? cells_per_page : 4 * cells_per_page;
  Run run;
  run.cells = std::min(all, 1 + random.below(most));
  run.first = random.below(all - run.cells + 1);
  if (pages > 1 && random.one_in(2)) {
    const std::uint64_t end = (1 + random.below(pages - 1)) * cells_per_page;
    run.first = std::min(end - std::min(end, 1 + random.below(run.cells)), all - run.cells);
  }
  return run;
}

void must_be_whole(const std::string& who, const std::string& fault) {
  if (!fault.empty()) throw Violation(who + " read bytes that nobody wrote there: " + fault);
}

void write_session(Field& field, StoreModel& model, Random& random) { Writer{field, model, random}.run(); }

void read_session(Field& field, StoreModel& model, Random& random) {
  const auto session = open_session(field.uri(draw_way(random), model.name(), "access=read&view=live"));
  const std::uint64_t operations = 1 + random.below(300);
  for (std::uint64_t at = 0; at < operations && !field.stop; ++at) {
    Read read;
    read.who = "a live reader";
    const std::uint64_t pages = model.pages();
    read.asked = now();
    if (random.one_in(8))
      read.pages = session->pages();
    else
      read_into(read, *session, some_cells(random, pages));
    read.answered = now();
    model.add(std::move(read));
    field.step();
  }
}

void pin_session(Field& field, StoreModel& model, Random& random) {
  PinnedRead pinned{model, "a pin"};
  pinned.read.asked = now();
  const auto session =
      open_session(field.uri(draw_way(random), model.name(), "access=read&view=pinned" + cache_of(random)));
  pinned.read.answered = now();
  const std::uint64_t moves = 1 + random.below(10);
  for (std::uint64_t move = 0; move < moves && !field.stop; ++move) {
    pinned.read.pages = session->pages();
    Image whole;
    if (random.one_in(3)) pinned.add(whole = read_all("a pin", *session));
    const std::uint64_t reads = random.below(10);
    for (std::uint64_t at = 0; at < reads && !field.stop; ++at) {
      read_into(pinned.read, *session, some_cells(random, pinned.read.pages));
      field.step();
    }
    const Time asked = now();
    const Refreshed refreshed = session->refresh();
    pinned.moved(asked, now());
    if (!whole.cells.empty()) {
      const Image after = read_all("a pin", *session);
      check_changed(whole, after, refreshed);
      pinned.add(after);
    }
    field.step();
  }
}

void fork_session(Field& field, StoreModel& model, Random& random) {
  static std::atomic<std::uint64_t> numbers{0};
  Read read;
  read.who = "a fork";
  read.asked = now();
  const auto session = open_session(field.uri(draw_way(random), model.name(), "access=fork" + cache_of(random)));
  read.answered = now();
  Image base = read_all(read.who, *session);
  read.pages = base.pages();
  read.runs = runs_of(base);
  model.add(read);
  Image view = base;
  const std::uint64_t operations = 1 + random.below(60);
  for (std::uint64_t at = 0; at < operations && !field.stop; ++at) {
    field.step();
    const std::uint64_t kind = random.below(12);
    try {
      if (kind == 0) {
        session->discard();
        view = base;
      } else if (kind == 1 && view.pages() < pages_max) {
        session->grow(1);
        view.cells.resize(view.cells.size() + cells_per_page);
      } else if (kind == 2) {
        session->flush();
      } else if (kind < 7) {
        Run run = some_cells(random, view.pages());
        run.number = fork_bit | ++numbers;
        session->write(run.first * cell_bytes, bytes_of(run));
        view.apply(run);
      } else {
        check_view(read.who, *session, view, some_cells(random, view.pages()));
      }
    } catch (const MemoryError& error) {
      // Without room a write of several pages may have been made in part: what was private is dropped.
      field.judge(error, "fork");
      if (error.errc() != Errc::no_space && error.errc() != Errc::limit_exceeded) throw;
      session->discard();
      view = base;
    }
  }
}

void act(Role role, Field& field, StoreModel& model, std::uint64_t seed) noexcept {
  Random random{seed};
  const std::string who = std::string(to_string(role)) + " of " + model.name();
  while (!field.stop) {
    try {
      switch (role) {
        case Role::writer: write_session(field, model, random); break;
        case Role::raw_writer: raw_write_session(field, model, random); break;
        case Role::reader: read_session(field, model, random); break;
        case Role::raw_reader: raw_read_session(field, model, random); break;
        case Role::pin: pin_session(field, model, random); break;
        case Role::fork: fork_session(field, model, random); break;
      }
    } catch (const MemoryError& error) {
      try {
        if (!model.distrusted()) field.judge(error, error.errc() == Errc::busy ? "open" : "a session");
      } catch (const std::exception& violation) {
        field.note_violation(who + ": " + violation.what());
      }
      if (error.errc() == Errc::connection_lost && !field.connections_go) return;
      field.step();
    } catch (const Violation& violation) {
      if (!model.distrusted()) field.note_violation(who + ": " + violation.what());
      field.step();
    } catch (const std::exception& error) {
      // A raw connection has no other words for a connection that broke.
      if (!field.ending && !field.touched && !field.connections_go) field.note_violation(who + ": " + error.what());
      if (!field.connections_go) return;
      field.step();
    }
  }
}

}  // namespace pageserver::test::soak
