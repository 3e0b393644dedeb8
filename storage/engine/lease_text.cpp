#include "storage/engine/lease_text.hpp"

#include <ctime>

#include "storage/file/file_io.hpp"

namespace pageserver::storage {

std::string utc_text(std::int64_t unix_ms) {
  auto seconds = static_cast<std::time_t>(unix_ms / 1000);
  if (unix_ms % 1000 < 0) --seconds;
  std::tm parts{};
  char text[64];
  if (::gmtime_r(&seconds, &parts) == nullptr) return std::to_string(unix_ms) + " ms";
  return {text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

std::string holder_text(const HolderStat& holder) {
  auto text = holder.name.empty() ? std::string{"a session without a name"} : quoted(holder.name);
  if (!holder.address.empty()) text += " at " + holder.address;
  return text + " since " + utc_text(holder.since_unix_ms);
}

MemoryError lease_busy_error(std::string_view store, const HolderStat& holder, std::uint64_t waiting) {
  auto text = "open " + quoted(store) + " for writing: the writer lease is held by " + holder_text(holder);
  if (waiting != 0) text += ", and " + std::to_string(waiting) + " wait in line for it";
  text +=
      "; wait in line with wait_ms=N, open with access=read, end that session, or break its lease: "
      "pagectl lease URI --break";
  return {Errc::busy, std::move(text)};
}

MemoryError lease_leaving_error(std::string_view store, const HolderStat& last, std::uint64_t waiting) {
  auto text = "open " + quoted(store) + " for writing: the writer lease was held by " + holder_text(last) +
              ", whose last publish is still under way";
  if (waiting != 0) text += ", and " + std::to_string(waiting) + " wait in line for it";
  text += "; try again, wait in line with wait_ms=N, or open with access=read";
  return {Errc::busy, std::move(text)};
}

MemoryError lease_lost_error(std::string_view store, std::uint64_t epoch, std::string_view reason) {
  return {Errc::lease_lost,
          "the writer lease of " + quoted(store) + " with epoch " + std::to_string(epoch) +
              " is lost: " + std::string{reason} +
              "; what is private is dropped, but for a flush under way, whose own answer says what became of it; "
              "open a new session to go on"};
}

}  // namespace pageserver::storage
