#include "storage/engine/image_watch.hpp"

#include <utility>

#include "base/text.hpp"

namespace pageserver::storage {

ImageWatch::Look ImageWatch::begin_look() const noexcept {
  Look look;
  look.changing_ = changing_.load();
  look.changes_ = changes_.load();
  return look;
}

std::string ImageWatch::end_look(const Look& look, std::optional<std::int64_t> modified_ns, std::string found,
                                 const std::string& path) {
  const Lock lock{mutex_};
  const bool quiet = modified_ns && look.changing_ == 0 && look.changes_ == changes_.load();
  // `found` may be a size that a change of the store is just setting.
  if (!quiet) return warning_;
  if (found.empty() && baseline_changes_ == look.changes_ && baseline_modified_ns_ != 0 &&
      *modified_ns != baseline_modified_ns_)
    found = "the file " + base::quoted(path) + " was written to from outside while the store wrote nothing";
  baseline_changes_ = look.changes_;
  baseline_modified_ns_ = *modified_ns;
  if (!found.empty()) warning_ = std::move(found);
  return warning_;
}

}  // namespace pageserver::storage
