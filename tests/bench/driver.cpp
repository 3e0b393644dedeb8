#include "tests/bench/driver.hpp"

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <iostream>
#include <limits>
#include <stdexcept>

namespace pageserver::bench {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

// A round of the slowest row, or its preparation, on a machine that has other things to do.
constexpr std::chrono::seconds patience = 600s;

constexpr std::string_view failed = "failed ";
constexpr std::string_view unavailable = "unavailable ";
constexpr std::string_view ready_more = "ready more ";
constexpr std::string_view ready_less = "ready less ";

std::string one_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

bool knows_drive(const fs::path& program) {
  return fs::exists(program) && test::run({program, "--help"}).out.find("--drive") != std::string::npos;
}

std::vector<std::string> command(const Build& build, const fs::path& folder, const std::string& row_id,
                                 const Settings& settings) {
  std::vector<std::string> words{build.driver, "--drive", row_id, "--programs", build.programs, "--folder", folder};
  if (settings.quick) words.push_back("--quick");
  if (!build.resume.empty()) words.insert(words.end(), {"--resume", build.resume});
  return words;
}

double figure_of(const std::string& line) {
  std::size_t end = 0;
  double value = 0;
  try {
    value = std::stod(line, &end);
  } catch (const std::logic_error&) {
    end = 0;
  }
  if (end != line.size() || line.empty() || !(value > 0)) throw std::runtime_error("no figure: '" + line + "'");
  return value;
}

}  // namespace

int drive(const std::string& row_id, Settings settings, std::istream& in, std::ostream& out) {
  settings.driver = [&](const Subject& subject, const std::string& unit, bool more_is_better) {
    out << (more_is_better ? ready_more : ready_less) << unit << std::endl;
    out << std::setprecision(std::numeric_limits<double>::max_digits10);
    for (std::size_t round = 0; in >> round;) out << subject.sample(round) << std::endl;
  };
  const std::vector<Row> rows = all_rows();
  const auto row = std::find_if(rows.begin(), rows.end(), [&](const Row& each) { return each.id == row_id; });
  try {
    if (row == rows.end()) throw NotAvailable("this build has no row " + row_id);
    Servers servers{settings};
    row->measure(servers);
    return 0;
  } catch (const NotAvailable& reason) {
    out << unavailable << one_line(reason.what()) << std::endl;
  } catch (const std::exception& error) {
    out << failed << one_line(error.what()) << std::endl;
  }
  return 1;
}

Build find_build(const fs::path& folder, const fs::path& ours) {
  Build build;
  build.programs = fs::absolute(fs::exists(folder / "bin" / "pageserverd") ? folder / "bin" : folder);
  for (const char* name : {"pageserverd", "pagectl"}) {
    if (!fs::exists(build.programs / name))
      throw std::runtime_error(folder.string() + " is no build: it has neither bin/" + name + " nor " + name +
                               ". Build one there: cmake --preset bench && cmake --build --preset bench");
  }
  build.drives_itself = knows_drive(build.programs / "pageserver_bench");
  build.driver = build.drives_itself ? build.programs / "pageserver_bench" : ours;
  return build;
}

RowDriver::RowDriver(const Build& build, const std::string& name, const std::string& row_id, const Settings& settings)
    : folder_(settings.folder / name), process_(command(build, folder_, row_id, settings), test::Input::lines) {
  const std::string line = answer();
  more_is_better_ = line.starts_with(ready_more);
  if (!more_is_better_ && !line.starts_with(ready_less)) throw std::runtime_error(name + " says '" + line + "'");
  unit_ = line.substr(ready_more.size());
}

RowDriver::~RowDriver() {
  process_.close_input();
  try {
    process_.wait(patience);
  } catch (const std::exception&) {
    // The process is killed next.
  }
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

double RowDriver::sample(std::size_t round) {
  process_.write_line(std::to_string(round));
  return figure_of(answer());
}

std::string RowDriver::answer() {
  std::string line = process_.next_line(patience);
  if (line.starts_with(unavailable)) throw NotAvailable(line.substr(unavailable.size()));
  if (line.starts_with(failed)) throw std::runtime_error(line.substr(failed.size()));
  return line;
}

Turns take_turns(std::size_t rounds, const Subject& ours, const Subject& theirs, bool ours_begins) {
  Turns turns;
  for (std::size_t round = 0; round < rounds; ++round) {
    const bool ours_first = (round % 2 == 0) == ours_begins;
    if (ours_first) turns.ours.push_back(ours.sample(round));
    turns.theirs.push_back(theirs.sample(round));
    if (!ours_first) turns.ours.push_back(ours.sample(round));
  }
  return turns;
}

Measured compare_builds(const std::string& unit, bool more_is_better, const Turns& placed, const Turns& exchanged) {
  const auto ratios = [more_is_better](const Turns& turns) {
    return more_is_better ? paired_ratios(turns.ours, turns.theirs) : paired_ratios(turns.theirs, turns.ours);
  };
  std::vector<double> both = ratios(placed);
  const std::vector<double> other = ratios(exchanged);
  if (both.size() != other.size()) throw std::invalid_argument("places with different numbers of rounds");
  for (std::size_t i = 0; i < both.size(); ++i) both[i] = std::sqrt(both[i] * other[i]);
  const auto all = [](std::vector<double> samples, const std::vector<double>& more) {
    samples.insert(samples.end(), more.begin(), more.end());
    return summarize(samples);
  };
  Measured measured;
  measured.ratio = summarize(both);
  measured.figures = {{"ours", unit, all(placed.ours, exchanged.ours)},
                      {"theirs", unit, all(placed.theirs, exchanged.theirs)}};
  return measured;
}

namespace {

/// One place for each build. `unit` and `more_is_better` are those of the row.
Turns measure_placed(const Build& first, const Build& second, bool ours_first, const std::string& row_id,
                     const Settings& settings, std::string& unit, bool& more_is_better) {
  RowDriver one{first, "first", row_id, settings};
  RowDriver other{second, "second", row_id, settings};
  RowDriver& ours = ours_first ? one : other;
  RowDriver& theirs = ours_first ? other : one;
  if (ours.unit() != theirs.unit() || ours.more_is_better() != theirs.more_is_better())
    throw NotAvailable("the other build measures it in " + theirs.unit() + ", this one in " + ours.unit());
  unit = ours.unit();
  more_is_better = ours.more_is_better();
  return take_turns((settings.rounds + 1) / 2, {"ours", [&](std::size_t round) { return ours.sample(round); }},
                    {"theirs", [&](std::size_t round) { return theirs.sample(round); }}, ours_first);
}

}  // namespace

std::vector<Row> rows_against(const std::vector<Row>& rows, const Build& ours, const Build& theirs, double least) {
  std::vector<Row> against;
  for (const Row& row : rows) {
    const auto measure = [ours, theirs, id = row.id](Servers& servers) {
      const Settings& settings = servers.settings();
      std::string unit;
      bool more_is_better = false;
      const Turns placed = measure_placed(ours, theirs, true, id, settings, unit, more_is_better);
      const Turns exchanged = measure_placed(theirs, ours, false, id, settings, unit, more_is_better);
      return compare_builds(unit, more_is_better, placed, exchanged);
    };
    against.push_back({row.id, row.work, {Bar::Kind::at_least, least, "theirs"}, measure});
  }
  return against;
}

}  // namespace pageserver::bench
