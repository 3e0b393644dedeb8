#include "storage/objects/take_over.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/random.hpp"

namespace pageserver::storage {
namespace {

constexpr int tries_max = 16;
constexpr std::size_t touches_at_once = 64;

int touch_runs(ObjectFolder& folder, const ObjectOwnerRef& owner, const ObjectEntry& entry) {
  const auto waits = std::make_shared<ObjectWaits>();
  for (std::uint64_t run = 0; run * entry.run_bytes < entry.extent_bytes; ++run) {
    waits->wait_for_few(touches_at_once);
    const std::string object = run_object(entry.file, run);
    ObjectChange make, touch;
    make.create = true;
    touch.compares.push_back(owner->run_guard());
    touch.set.emplace_back(run_epoch_key, encode_epoch(owner->epoch));
    folder.pool->change(object, make, waits->one());
    folder.pool->change(object, touch, waits->one());
  }
  return waits->wait();
}

/// Removes runs of files that have no name any more, of this image and of images that are not there.
void remove_litter(ObjectFolder& folder, const ObjectOwnerRef& owner, const std::map<std::string, std::string>& keys) {
  std::vector<std::uint64_t> listed;
  for (const auto& [key, value] : keys)
    if (key.starts_with("n."))
      if (const auto entry = decode_entry(value)) listed.push_back(entry->file);
  for (const auto& [key, value] : keys) {
    const auto removed = key.starts_with("u.") ? decode_removed(value) : std::nullopt;
    if (!removed) continue;
    const std::uint64_t file = std::stoull(key.substr(2), nullptr, 16);
    const bool of_nobody = !keys.contains(epoch_key(removed->owner)) &&
                           std::find(listed.begin(), listed.end(), removed->owner) == listed.end();
    // A file without a name may be open still: of this image only by who had it before.
    if (removed->owner == owner->image || (of_nobody && removed->owner != 0)) folder.remove_runs(file, *removed);
  }
}

}  // namespace

std::string new_cookie() {
  char host[256] = "";
  if (::gethostname(host, sizeof host - 1) != 0) host[0] = '\0';
  char since[64] = "";
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  if (::gmtime_r(&now, &parts) != nullptr) std::strftime(since, sizeof since, "%Y-%m-%d %H:%M:%S UTC", &parts);
  return std::string{host} + ", process " + std::to_string(::getpid()) + ", since " + since + " #" +
         std::to_string(base::random_number());
}

std::string shown_cookie(const std::string& cookie) { return cookie.substr(0, cookie.rfind(" #")); }

// The order is that of docs/homes.md: the epoch, then the log's runs, then everything else.
IoResult take_over(ObjectFolder& folder, ObjectFile& file, const ObjectOwnerRef& owner) {
  const std::string key = epoch_key(owner->image);
  int error = ECANCELED;
  for (int attempt = 0; error == ECANCELED && attempt < tries_max; ++attempt) {
    std::map<std::string, std::string> was;
    if (error = folder.pool->get(names_object, {last_epoch_key, key}, was); error != 0) return error_result(error);
    owner->epoch = decode_epoch(was[last_epoch_key]) + 1;
    owner->taken_over = !was[key].empty();
    ObjectChange change;
    change.compares.push_back({last_epoch_key, ObjectCompare::Kind::equal, was[last_epoch_key]});
    change.set.emplace_back(last_epoch_key, encode_epoch(owner->epoch));
    change.set.emplace_back(key, encode_epoch(owner->epoch));
    error = folder.change_names(std::move(change), nullptr);
  }
  if (error != 0) return error_result(error);
  std::map<std::string, std::string> keys;
  if (error = folder.pool->list(names_object, {}, keys); error != 0) return error_result(error);
  bool has_log = false;
  for (const auto& [name, value] : keys) {
    if (!owner->guards || !name.starts_with("n.") || !is_fenced(name.substr(2)) ||
        image_of(name.substr(2)) != owner->image_name)
      continue;
    has_log = true;
    if (const auto entry = decode_entry(value))
      if (error = touch_runs(folder, owner, *entry); error != 0) return error_result(error);
  }
  if (owner->guards && owner->taken_over && !has_log)
    if (error = file.touch_all(owner); error != 0) return error_result(error);
  remove_litter(folder, owner, keys);
  return {};
}

}  // namespace pageserver::storage
