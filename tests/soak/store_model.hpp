// The truth about one store: what its writers were answered, and what therefore has to be there.
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/soak/history.hpp"

namespace pageserver::test::soak {

/// A promise was broken. The text says which, for people.
struct Violation : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// What became of a change.
enum class Outcome : std::uint8_t {
  done,     ///< answered with success
  refused,  ///< answered with an error that says that it is not there, and never will be
  failed,   ///< answered with an error of the medium: nobody sees it, but a crash may leave it
  unknown,  ///< not answered
};

/// Which lease a writer has: epochs grow within one incarnation of the store.
struct Lease {
  std::uint64_t incarnation = 0;
  std::uint64_t epoch = 0;
};

/// Threads: all calls but those of the lives are safe from several; lives begin and end with no actor about.
class StoreModel {
public:
  explicit StoreModel(std::string name) : name_{std::move(name)} {}
  const std::string& name() const { return name_; }

  /// A change under way.
  struct Open {
    Change change;
    enum class State : std::uint8_t { asked, there, not_there } state = State::asked;
    bool stale = false;  ///< asked for by a writer whose lease had gone to another
  };
  using Ticket = std::shared_ptr<Open>;

  /// A writer has the lease, and `found` is what it sees: decides what became of the changes of earlier ones, and
  /// returns the writer's number for begin(). Throws Violation when something that was answered is not there, or what
  /// is there was never written. A writer that says so after a later one did has lost its lease already.
  std::uint64_t take_over(const Image& found, Time answered, Lease lease);
  /// Numbers are given out in the order of their publishes; the change's own is set here.
  Ticket begin(std::uint64_t writer, Change change);
  std::uint64_t next_number();
  void end(const Ticket& ticket, Outcome outcome, Time answered);
  void add(Read read);
  /// From now on until replace() nobody can say what is there: somebody emptied or cut the log, and it may not have
  /// been noticed yet. Reads are not added any more, and whoever takes over finds nothing to compare with: a Violation.
  void distrust();
  bool distrusted() const;
  /// Pages that the store has at least, as long as the life goes on.
  std::uint64_t pages() const;

  /// Between lives. What was found after the end of one: checks the whole life, with `found` read at its end.
  void end_life(const Image& found);
  /// Checks the life without having looked: what was not answered may be there or not. replace() must follow.
  void end_life_unseen();
  /// What people put there instead: the next life begins with it.
  void replace(Image image);
  const Image& newest() const { return newest_; }
  /// True when nothing is open or failed: newest() is what must be there.
  bool is_certain() const { return open_.empty() && failed_.empty(); }
  std::string recent() const;  ///< the last changes and reads, for people

  std::uint64_t changes_in_all() const { return changes_in_all_; }
  std::uint64_t reads_in_all() const { return reads_in_all_; }

private:
  void apply(Open& open, Time answered);
  std::vector<Change> pending() const;
  void check_and_clear();

  const std::string name_;
  mutable std::mutex mutex_;
  Life life_;
  Image newest_;
  std::deque<Ticket> open_;
  std::vector<Change> failed_;
  std::uint64_t number_ = 0;
  std::uint64_t writer_ = 1;
  Lease lease_;
  bool distrusted_ = false;
  std::uint64_t changes_in_all_ = 0;
  std::uint64_t reads_in_all_ = 0;
};

}  // namespace pageserver::test::soak
