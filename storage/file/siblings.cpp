#include "storage/file/siblings.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <ctime>
#include <exception>
#include <limits>
#include <map>
#include <utility>

namespace pageserver::storage {
namespace {

constexpr std::size_t digits = 10;
constexpr std::array<std::pair<Sibling, std::string_view>, 5> words{{{Sibling::log, ".log."},
                                                                     {Sibling::spare, ".spare."},
                                                                     {Sibling::spill, ".spill."},
                                                                     {Sibling::removed, ".removed."},
                                                                     {Sibling::resume, ".resume."}}};

std::string_view word_of(Sibling sibling) noexcept { return words[static_cast<std::size_t>(sibling)].second; }

bool is_made(Sibling sibling, std::uint64_t number) noexcept {
  if (sibling == Sibling::spill) return true;
  return sibling == Sibling::removed || sibling == Sibling::resume ? number == 1 : number != 0;
}

}  // namespace

std::string sibling_name(const std::string& image_name, Sibling sibling, std::uint64_t number) {
  assert(number <= sibling_number_max && is_made(sibling, number));
  const std::string text = std::to_string(number);
  return image_name + std::string{word_of(sibling)} + std::string(digits - text.size(), '0') + text;
}

std::string kept_name(const std::string& image_name, std::uint64_t number, std::int64_t now_ns, bool short_form) {
  constexpr std::int64_t second_ns = 1'000'000'000;
  const auto seconds = static_cast<std::time_t>(now_ns / second_ns);
  const std::string start = image_name + ".kept-";
  if (short_form) return start + std::to_string(seconds);
  std::tm parts{};
  std::array<char, 32> text{};
  if (::gmtime_r(&seconds, &parts) != nullptr)
    static_cast<void>(std::strftime(text.data(), text.size(), "%Y%m%dT%H%M%SZ", &parts));
  std::string digits_of = std::to_string(number);
  if (digits_of.size() < digits) digits_of.insert(0, digits - digits_of.size(), '0');
  return start + text.data() + "." + digits_of;
}

std::string longest_sibling_name(const std::string& image_name) {
  std::string longest = kept_name(image_name, 0, std::numeric_limits<std::int64_t>::max(), true);
  for (const auto& [sibling, word] : words) {
    const std::string name = sibling_name(image_name, sibling, 1);
    if (name.size() > longest.size()) longest = name;
  }
  return longest;
}

std::optional<SiblingName> parse_sibling_name(std::string_view name) noexcept {
  if (name.size() <= digits) return std::nullopt;
  const std::string_view number = name.substr(name.size() - digits);
  SiblingName parsed;
  for (const char digit : number) {
    if (digit < '0' || digit > '9') return std::nullopt;
    parsed.number = parsed.number * 10 + static_cast<std::uint64_t>(digit - '0');
  }
  name.remove_suffix(digits);
  for (const auto& [sibling, word] : words) {
    if (!name.ends_with(word) || name.size() == word.size()) continue;
    if (!is_made(sibling, parsed.number)) return std::nullopt;
    parsed.sibling = sibling;
    parsed.image_name = name.substr(0, name.size() - word.size());
    return parsed;
  }
  return std::nullopt;
}

bool resembles_sibling(std::string_view name) noexcept {
  return parse_sibling_name(name) || std::any_of(words.begin(), words.end(), [&](const auto& one) {
           const auto at = name.find(std::string{".img"} + std::string{one.second});
           return at != std::string_view::npos && at != 0;
         });
}

namespace {

SiblingFiles sorted_out(const Folder& folder, const std::string& image_name, std::vector<std::string> names) {
  SiblingFiles siblings;
  std::map<std::uint64_t, std::string> log;
  for (std::string& name : names) {
    const auto parsed = parse_sibling_name(name);
    if (!parsed || parsed->image_name != image_name) continue;
    const std::uint64_t number = parsed->number;
    const Sibling sibling = parsed->sibling;
    FileStatus status;
    if (!folder.has(name, status)) continue;  // gone meanwhile
    if (!S_ISREG(status.mode)) {
      if (sibling == Sibling::log) throw not_ours_error(folder, name, "open log", status);
      continue;
    }
    if (sibling == Sibling::log)
      log[number] = std::move(name);
    else
      (sibling == Sibling::removed  ? siblings.removed
       : sibling == Sibling::resume ? siblings.resume
                                    : siblings.scratch)
          .push_back(std::move(name));
  }
  for (auto& [number, name] : log) siblings.log.push_back(std::move(name));
  return siblings;
}

}  // namespace

SiblingFiles list_siblings(const Folder& folder, const std::string& image_name) {
  std::vector<std::string> names;
  const auto listed = folder.try_names(names, image_name + ".");
  if (!listed.ok()) throw file_error(folder.file_system(), "list the folder", folder.path(), listed.error);
  return sorted_out(folder, image_name, std::move(names));
}

SiblingFiles list_visible_siblings(const Folder& folder, const std::string& image_name) {
  std::vector<std::string> names;
  const auto listed = folder.try_names(names, image_name + ".");
  if (listed.error == EACCES) return {};
  if (!listed.ok()) throw file_error(folder.file_system(), "list the folder", folder.path(), listed.error);
  return sorted_out(folder, image_name, std::move(names));
}

void check_image_place(const Folder& folder, const std::string& name, std::string_view action,
                       const std::string& shown_path, std::string_view remedy) {
  const std::string asked = std::string{action} + " " + quoted(shown_path) + ": ";
  if (const auto parsed = parse_sibling_name(name))
    throw MemoryError{Errc::invalid_argument,
                      asked + quoted(name) + " is what a store calls a file of its own beside " +
                          quoted(std::string{parsed->image_name}) +
                          ", and who opens that would take it for one; give the image another name"};
  FileStatus status;
  const auto found = retried([&] { return folder.file_system().status_beneath(folder.descriptor(), name, status); });
  if (found.error != ENOENT) return;  // it is there, or its opening will fail and say why
  const SiblingFiles siblings = list_visible_siblings(folder, name);
  if (siblings.log.empty()) return;
  throw MemoryError{Errc::damaged, asked + "the image is gone, and its log " +
                                       quoted(folder.path_of(siblings.log.front())) + " is still there; " +
                                       std::string{remedy}};
}

void check_room_for_siblings(const Folder& folder, const std::string& name, std::string_view action,
                             const std::string& shown_path) {
  const std::string longest = longest_sibling_name(name);
  FileStatus status;
  const auto found = retried([&] { return folder.file_system().status_beneath(folder.descriptor(), longest, status); });
  if (found.error != ENAMETOOLONG) return;
  constexpr std::size_t common_bytes_max = 255;
  const std::size_t more = longest.size() - name.size();
  throw MemoryError{Errc::invalid_argument,
                    std::string{action} + " " + quoted(shown_path) + ": its name has " + std::to_string(name.size()) +
                        " bytes, and those of the files that a store keeps beside it " + std::to_string(more) +
                        " more, which the file system does not take; choose a name of at most " +
                        std::to_string(common_bytes_max - more) + " bytes (most file systems take " +
                        std::to_string(common_bytes_max) + ")"};
}

void remove_scratch_files(const Folder& folder, const std::string& image_name) {
  remove_scratch_files(folder, list_siblings(folder, image_name));
}

void remove_scratch_files(const Folder& folder, const SiblingFiles& siblings) {
  std::exception_ptr error;
  for (const std::string& name : siblings.scratch) {
    try {
      folder.remove(name);
    } catch (const MemoryError&) {
      if (!error) error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace pageserver::storage
