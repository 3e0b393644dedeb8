#include "storage/engine/private_budget.hpp"

#include <pageserver/error.hpp>

#include "storage/file/mutation.hpp"

namespace pageserver::storage {

void PrivateBudget::charge(std::string_view action, std::uint64_t bytes) {
  if (bytes == 0) return;
  const auto refuse = [&](std::uint64_t held, const std::string& name, std::uint64_t limit) {
    throw MemoryError{Errc::limit_exceeded, std::string{action} + " of " + std::to_string(bytes) +
                                                " further private bytes to " + std::to_string(held) + " exceeds " +
                                                name + "=" + std::to_string(limit) + "; " + bounds_.remedy +
                                                ", or raise that limit"};
  };
  const bool bounded = !mutated(Mutation::skip_private_bound);
  if (bounded && (bytes > bounds_.bytes_max || charged_ > bounds_.bytes_max - bytes))
    refuse(charged_, bounds_.bytes_max_name, bounds_.bytes_max);
  if (bounds_.total_bytes != nullptr) {
    const std::uint64_t before = bounds_.total_bytes->fetch_add(bytes);
    if (bounded && (bytes > bounds_.total_bytes_max || before > bounds_.total_bytes_max - bytes)) {
      bounds_.total_bytes->fetch_sub(bytes);
      refuse(before, bounds_.total_bytes_max_name, bounds_.total_bytes_max);
    }
    if (bounds_.part_bytes != nullptr) bounds_.part_bytes->fetch_add(bytes);
  }
  charged_ += bytes;
  if (bounds_.owner_bytes == nullptr) return;
  const std::uint64_t before = bounds_.owner_bytes->fetch_add(bytes);
  if (bounded && (bytes > bounds_.owner_bytes_max || before > bounds_.owner_bytes_max - bytes)) {
    give_back(bytes);
    refuse(before, bounds_.owner_bytes_max_name, bounds_.owner_bytes_max);
  }
}

void PrivateBudget::give_back(std::uint64_t bytes) noexcept {
  charged_ -= bytes;
  if (bounds_.owner_bytes != nullptr) bounds_.owner_bytes->fetch_sub(bytes);
  if (bounds_.total_bytes == nullptr) return;
  bounds_.total_bytes->fetch_sub(bytes);
  if (bounds_.part_bytes != nullptr) bounds_.part_bytes->fetch_sub(bytes);
}

void PrivateBudget::keep(std::uint64_t due) noexcept {
  if (charged_ > due) give_back(charged_ - due);
}

}  // namespace pageserver::storage
