#include "tests/bench/driver.hpp"

#include <algorithm>
#include <iomanip>
#include <iostream>
#include <limits>

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

Measured compare_builds(std::size_t rounds, const std::string& unit, bool more_is_better, const Subject& ours,
                        const Subject& theirs) {
  std::vector<double> mine;
  std::vector<double> others;
  for (std::size_t round = 0; round < rounds; ++round) {
    if (round % 2 == 0) mine.push_back(ours.sample(round));
    others.push_back(theirs.sample(round));
    if (round % 2 != 0) mine.push_back(ours.sample(round));
  }
  Measured measured;
  measured.ratio = summarize(more_is_better ? paired_ratios(mine, others) : paired_ratios(others, mine));
  measured.figures = {{ours.name, unit, summarize(mine)}, {theirs.name, unit, summarize(others)}};
  return measured;
}

std::vector<Row> rows_against(const std::vector<Row>& rows, const Build& ours, const Build& theirs, double least) {
  std::vector<Row> against;
  for (const Row& row : rows) {
    const auto measure = [ours, theirs, id = row.id](Servers& servers) {
      const Settings& settings = servers.settings();
      RowDriver mine{ours, "ours", id, settings};
      RowDriver others{theirs, "theirs", id, settings};
      if (mine.unit() != others.unit() || mine.more_is_better() != others.more_is_better())
        throw NotAvailable("the other build measures it in " + others.unit() + ", this one in " + mine.unit());
      return compare_builds(settings.rounds, mine.unit(), mine.more_is_better(),
                            {"ours", [&](std::size_t round) { return mine.sample(round); }},
                            {"theirs", [&](std::size_t round) { return others.sample(round); }});
    };
    against.push_back({row.id, row.work, {Bar::Kind::at_least, least, "theirs"}, measure});
  }
  return against;
}

}  // namespace pageserver::bench
