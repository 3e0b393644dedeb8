// Measures this project's daemon and library against its peers and prints the table. See --help.
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <iostream>
#include <set>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "tests/bench/driver.hpp"
#include "tests/bench/report.hpp"
#include "tests/bench/rows.hpp"

namespace pageserver::bench {
namespace {

struct Options {
  std::vector<std::string> rows;
  std::size_t rounds = 9;
  bool quick = false;
  bool list = false;
  std::string json = "build/bench/results.json";
  std::string folder = "build/bench/data";
  std::string against;   // the folder of another build; empty: our peers
  double least = 0.97;   // with it: the ratio below which a row is listed
  std::string drive;     // the row that another program drives
  std::string resume;    // seconds; empty: sessions end with their connections
  std::string programs;  // empty: beside this one
};

// The first core for servers, the last for us, of those that we may use.
void choose_cores(Settings& settings) {
  cpu_set_t set;
  ::sched_getaffinity(0, sizeof set, &set);
  std::vector<unsigned> cores;
  for (unsigned core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  }
  settings.server_core = cores.front();
  settings.client_core = cores.back();
  if (cores.size() == 1) std::cerr << "bench: one core only: client and server share it, the figures mean little\n";
}

void raise_file_limit() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

Outcome measure(const Row& row, Servers& servers) {
  Outcome outcome{row.id, row.work, row.bar, {}, {}, {}};
  ::sync();  // what a row before wrote is not this one's to wait for
  try {
    outcome.measured = row.measure(servers);
  } catch (const NotAvailable& reason) {
    outcome.not_available = reason.what();
  } catch (const std::exception& error) {
    outcome.failure = error.what();
  }
  return outcome;
}

bool is_wanted(const Row& row, const std::vector<std::string>& wanted) {
  if (wanted.empty()) return true;
  for (const std::string& name : wanted) {
    if (row.id == name || (name.ends_with('*') && row.id.starts_with(name.substr(0, name.size() - 1)))) return true;
  }
  return false;
}

Settings settings_of(const Options& options) {
  Settings settings;
  settings.folder = std::filesystem::absolute(options.folder);
  settings.programs = options.programs.empty() ? std::filesystem::read_symlink("/proc/self/exe").parent_path()
                                               : std::filesystem::absolute(options.programs);
  settings.rounds = options.rounds;
  settings.quick = options.quick;
  if (!options.resume.empty()) settings.uri_keys = "resume=" + options.resume;
  choose_cores(settings);
  return settings;
}

// What an earlier run left goes: images that do not belong to their logs.
void make_empty(const std::filesystem::path& folder) {
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
}

int run_driven(const Options& options) {
  const Settings settings = settings_of(options);
  raise_file_limit();
  ::signal(SIGPIPE, SIG_IGN);
  make_empty(settings.folder);
  pin_to(settings.client_core);
  return drive(options.drive, settings, std::cin, std::cout);
}

std::vector<Row> against(const Options& options, const Settings& settings, const std::vector<Row>& rows) {
  const auto self = std::filesystem::read_symlink("/proc/self/exe");
  const Build ours{settings.programs, self, true, options.resume};
  const Build theirs = find_build(options.against, self);
  std::cout << "ratio: how many times as good ours is as " << options.against << ", whatever the unit\n";
  if (!theirs.drives_itself)
    std::cout << "its pageserver_bench is missing or too old to be driven: its daemon and tool are measured with the "
                 "client library of this build\n";
  std::cout << "\n";
  return rows_against(rows, ours, theirs, options.least);
}

void list_below(const std::vector<Outcome>& outcomes) {
  for (const Outcome& outcome : outcomes) {
    if (!outcome.measured || outcome.bar.reached(outcome.measured->ratio.median)) continue;
    const Summary& ratio = outcome.measured->ratio;
    std::printf("below %.3g: %s %.3f (quartiles %.3f - %.3f)\n", outcome.bar.value, outcome.id.c_str(), ratio.median,
                ratio.low, ratio.high);
  }
  std::fflush(stdout);
}

int run(const Options& options) {
  std::vector<Row> rows = all_rows();
  if (options.list) {
    for (const Row& row : rows) std::printf("%-20s %s\n", row.id.c_str(), row.work.c_str());
    return 0;
  }
  std::erase_if(rows, [&](const Row& row) { return !is_wanted(row, options.rows); });
  if (rows.empty()) throw std::runtime_error("no row has that name; see --list");

  const Settings settings = settings_of(options);
  raise_file_limit();
  ::signal(SIGPIPE, SIG_IGN);
  // Drivers choose their cores for themselves, of those that we may use.
  const bool has_other = !options.against.empty();
  if (has_other) {
    rows = against(options, settings, rows);
  } else {
    pin_to(settings.client_core);
  }
  make_empty(settings.folder);

  std::vector<Outcome> outcomes;
  {
    Servers servers{settings};
    std::cout << table_head() << std::endl;
    for (const Row& row : rows) {
      outcomes.push_back(measure(row, servers));
      std::cout << table_row(outcomes.back()) << std::endl;
    }
  }
  std::filesystem::remove_all(settings.folder);

  std::cout << "\n";
  for (const Outcome& outcome : outcomes) {
    const std::string more = details(outcome);
    if (!more.empty()) std::cout << outcome.id << ": " << more << "\n";
  }
  std::size_t failed = 0;
  for (const Outcome& outcome : outcomes) failed += !outcome.failure.empty();
  if (has_other) {
    list_below(outcomes);
  } else {
    for (const std::string& name : missing_programs()) std::cout << "not installed: " << name << "\n";
  }
  const std::filesystem::path json = options.json;
  if (json.has_parent_path()) std::filesystem::create_directories(json.parent_path());
  std::ofstream file(json);
  auto results = to_json(settings, outcomes);
  if (has_other) results["against"] = options.against;
  file << results.dump(2) << "\n";
  if (!file.flush()) throw std::runtime_error("can't write " + options.json);
  std::size_t measured = 0;
  for (const Outcome& outcome : outcomes) measured += outcome.measured.has_value();
  std::cout << "results: " << options.json << "\n"
            << measured << " passed, " << failed << " failed, " << outcomes.size() - measured - failed << " skipped\n";
  return failed == 0 ? 0 : 1;
}

int main(int count, char** arguments) {
  Options options;
  CLI::App app{
      "Measures pageserverd and its client library against nbdkit, qemu-nbd, nbd-server, Redis and the least\n"
      "server there can be. Medians of paired ratios over interleaved rounds; a ratio is ours to theirs.\n"
      "With --against: every row of this build against another build of pageserver, which shows what a change cost.",
      "pageserver_bench"};
  app.add_option("--rows", options.rows, "Rows to measure, by id; `read_*` for all that begin so")->delimiter(',');
  app.add_option("--rounds", options.rounds, "Rounds of each row")->check(CLI::Range(1, 1000))->capture_default_str();
  app.add_flag("--quick", options.quick, "3 short rounds and small files, to see that everything runs");
  app.add_flag("--list", options.list, "Print the rows and end");
  app.add_option("--json", options.json, "File for the results")->capture_default_str();
  app.add_option("--folder", options.folder, "Folder for images and sockets; emptied before and removed afterwards")
      ->capture_default_str();
  auto* against = app.add_option("--against", options.against,
                                 "Another build: its build tree, or the folder of its programs. Each round "
                                 "measures both; above 1 ours is better");
  app.add_option("--least", options.least, "With --against: rows whose ratio is below are listed at the end")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--drive", options.drive, "Measure one row at the word of standard input; how --against runs builds")
      ->excludes(against);
  app.add_option(
         "--resume", options.resume,
         "Sessions of this build's library are opened with resume=SECONDS; with --against, the other's are not, "
         "so that against itself a build shows what resumption costs")
      ->check(CLI::Range(1, 3600));
  app.add_option("--programs", options.programs, "Folder of pageserverd and pagectl, if not beside this program");
  CLI11_PARSE(app, count, arguments);
  if (options.quick && app.count("--rounds") == 0) options.rounds = 3;
  try {
    return options.drive.empty() ? run(options) : run_driven(options);
  } catch (const std::exception& error) {
    std::cerr << "pageserver_bench: " << error.what() << "\n";
    return 1;
  }
}

}  // namespace
}  // namespace pageserver::bench

int main(int count, char** arguments) { return pageserver::bench::main(count, arguments); }
