// Rows of one build, measured at the word of a program that compares it with another build: `pageserver_bench --drive`.
//
// The program that drives starts one driver for each build and talks to it in lines. The driver says, once the row is
// prepared, `ready more UNIT` (more is better) or `ready less UNIT`. It then reads numbers of rounds and answers each
// with the row's figure. It ends at the end of its input. What goes wrong is a line as well: `failed TEXT`, or
// `unavailable TEXT` where the row can't be measured here.
#pragma once

#include <chrono>
#include <filesystem>
#include <iosfwd>
#include <memory>
#include <string>
#include <vector>

#include "tests/bench/rows.hpp"
#include "tests/support/process.hpp"

namespace pageserver::bench {

/// The driver's side: measures the row of that name until `in` ends; returns the exit status.
int drive(const std::string& row_id, Settings settings, std::istream& in, std::ostream& out);

/// A build of this project: where its programs are, and what drives it.
struct Build {
  std::filesystem::path programs;  ///< the folder of pageserverd and pagectl
  std::filesystem::path driver;    ///< a pageserver_bench that knows --drive: its own, or ours
  bool drives_itself = false;      ///< the client library that is measured is its own
  std::string resume = {};         ///< seconds: its library's sessions can be resumed; empty: they can't
};

/// The build in `folder`, a build tree or the folder of its programs. Where it has no driver, `ours` drives its daemon
/// and its tool. Throws, naming what is missing, when it has no pageserverd or pagectl.
Build find_build(const std::filesystem::path& folder, const std::filesystem::path& ours);

/// One row of one build.
class RowDriver {
public:
  /// Starts the driver and returns once the row is prepared. `name` tells its images from those of the other build.
  /// Throws NotAvailable, or what went wrong.
  RowDriver(const Build& build, const std::string& name, const std::string& row_id, const Settings& settings);
  RowDriver(const RowDriver&) = delete;
  RowDriver& operator=(const RowDriver&) = delete;
  /// Waits until the driver has put away what it used.
  ~RowDriver();

  const std::string& unit() const noexcept { return unit_; }
  bool more_is_better() const noexcept { return more_is_better_; }
  double sample(std::size_t round);

private:
  /// The next line, unless it says that something went wrong.
  std::string answer();

  std::filesystem::path folder_;
  test::Process process_;
  std::string unit_;
  bool more_is_better_ = false;
};

/// What both builds gave, round by round.
struct Turns {
  std::vector<double> ours;
  std::vector<double> theirs;
};
/// Both builds once a round, each first in its turn; `ours_begins` the first round, or they do.
Turns take_turns(std::size_t rounds, const Subject& ours, const Subject& theirs, bool ours_begins);

/// `placed` and `exchanged` are as many rounds in which the builds had each other's places: which folder a build has,
/// and which of the two begins, can be worth a fifth. So a ratio is the geometric mean of those of two rounds, and says
/// how many times as good ours is, whichever way is better for the unit: above 1 it is faster, or takes less.
Measured compare_builds(const std::string& unit, bool more_is_better, const Turns& placed, const Turns& exchanged);

/// The same rows, each of our build against the other; `least` is their bar.
std::vector<Row> rows_against(const std::vector<Row>& rows, const Build& ours, const Build& theirs, double least);

}  // namespace pageserver::bench
