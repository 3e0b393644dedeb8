// The soak: a real daemon on a real disk, and everything that people do to it, for as long as SOAK_MINUTES says.
#include <sched.h>
#include <sys/mount.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <random>
#include <string>

#include "tests/soak/soak.hpp"
#include "tests/support/temp_dir.hpp"

namespace {

namespace fs = std::filesystem;
using namespace pageserver::test;
using namespace pageserver::test::soak;
using Clock = std::chrono::steady_clock;

constexpr std::uint64_t small_disk_bytes = 12u << 20;

std::uint64_t number_from(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr || *text == '\0' ? otherwise : std::strtoull(text, nullptr, 10);
}

/// Mounts are this process's and its children's alone.
bool own_mounts() {
  return ::unshare(CLONE_NEWNS) == 0 && ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
}

class SmallDisk {
public:
  explicit SmallDisk(fs::path folder) : folder_{std::move(folder)} {
    fs::create_directory(folder_);
    const std::string size = "size=" + std::to_string(small_disk_bytes);
    works_ = ::mount("none", folder_.c_str(), "tmpfs", 0, size.c_str()) == 0;
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  ~SmallDisk() {
    if (works_) ::umount2(folder_.c_str(), MNT_DETACH);
  }
  fs::path folder() const { return works_ ? folder_ : fs::path(); }

private:
  fs::path folder_;
  bool works_ = false;
};

/// The files of a violation, where nobody removes them.
fs::path keep(const fs::path& root, std::uint64_t seed, const std::string& text) {
  const char* where = std::getenv("PAGESERVER_SOAK_KEEP");
  const fs::path base = where != nullptr && *where != '\0' ? fs::path(where) : fs::temp_directory_path();
  fs::path kept = base / ("pageserver-soak-" + std::to_string(seed));
  fs::remove_all(kept);
  fs::create_directories(base);
  fs::remove(root / "socket");
  fs::copy(root, kept, fs::copy_options::recursive | fs::copy_options::skip_existing | fs::copy_options::skip_symlinks);
  std::ofstream{kept / "violation.txt"} << text;
  return kept;
}

std::string text(const Counts& counts, Clock::time_point began, std::uint64_t violations) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - began).count();
  return std::to_string(counts.kills) + " kills, " + std::to_string(counts.stops) + " stops, " +
         std::to_string(counts.lives) + " lives, " + std::to_string(counts.cases) + " cases of files, " +
         std::to_string(counts.disturbances) + " disturbances, " + std::to_string(counts.changes) + " changes, " +
         std::to_string(counts.reads) + " reads, " + std::to_string(counts.refusals) + " refused for room, " +
         std::to_string(counts.leases_lost) + " leases lost, " + std::to_string(counts.versions_given_up) +
         " versions given up, " + std::to_string(seconds) + " s, " + std::to_string(violations) + " violations";
}

}  // namespace

int main() {
  const std::uint64_t seconds = number_from("SOAK_SECONDS", 60 * number_from("SOAK_MINUTES", 3));
  const std::uint64_t first_seed = number_from("PAGESERVER_SOAK_SEED", std::random_device{}());
  const std::uint64_t lives = number_from("PAGESERVER_SOAK_LIVES", 100);
  const std::uint64_t violations_max = number_from("PAGESERVER_SOAK_VIOLATIONS", 1);
  const auto began = Clock::now();
  const auto until = began + std::chrono::seconds(seconds);
  const bool mounts = own_mounts();
  if (!mounts) std::cout << "no mounts of its own: no small disk, limits of file sizes alone\n";
  Counts counts;
  std::uint64_t violations = 0;
  Certificates certificates;
  certificates.make("server", {});
  // A machine that is busy gets the time that one kill takes.
  for (std::uint64_t seed = first_seed; (Clock::now() < until || counts.kills == 0) && violations < violations_max;
       ++seed) {
    TempDir root;
    std::optional<SmallDisk> disk;
    if (mounts) disk.emplace(root.path() / "small");
    std::cout << "seed " << seed << ": " << text(counts, began, violations) << std::endl;
    std::optional<Soak> run;
    try {
      run.emplace(seed, root.path(), disk ? disk->folder() : fs::path(), certificates, counts);
      run->go(lives, until);
    } catch (const std::exception& error) {
      ++violations;
      const std::string what = std::string("VIOLATION: ") + error.what() + "\n" + (run ? run->story() : "");
      std::cout << what;
      try {
        std::cout << "kept in " << keep(root.path(), seed, what) << std::endl;
      } catch (const std::exception& problem) {
        std::cout << "the files could not be kept: " << problem.what() << std::endl;
      }
    }
  }
  std::cout << text(counts, began, violations) << std::endl;
  return violations == 0 && counts.kills != 0 ? 0 : 1;
}
