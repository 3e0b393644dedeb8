// The page map of a store, for the status page: /pages?store=NAME&from=PAGE&tile=PAGES&tiles=COUNT. On the metrics
// listener's loop, which asks and waits for nobody; the store looks in a job of its own.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "server/runtime/worker.hpp"
#include "server/stores/catalog.hpp"
#include "storage/page_map.hpp"

namespace pageserver::server {

struct PageMapQuestion {
  std::string store;
  storage::PageMapRequest request;
};

/// Of a query as it was sent, without its question mark. Nothing: `fault` says what is wrong with it.
std::optional<PageMapQuestion> page_map_question(std::string_view query, std::string& fault);

class PageMaps {
public:
  /// A store that takes longer is given up, and asked again only once it has answered.
  static constexpr std::chrono::milliseconds patience{3000};
  /// So many tiles at most go into one answer.
  static constexpr std::size_t tiles_max = 4096;
  static constexpr std::uint64_t pages_per_tile_max = 1u << 20;

  /// Both outlive it.
  PageMaps(Worker& worker, Catalog& catalog) : worker_(worker), catalog_(catalog) {}

  struct Told {
    unsigned code = 200;  ///< of HTTP
    std::string body;     ///< JSON, or with another code a line of text
  };
  /// On the worker; `told` runs there, within little more than `patience`.
  void ask(std::string_view query, std::function<void(Told told)> told);

private:
  struct Asking;

  void look(const std::shared_ptr<Asking>& asking);

  Worker& worker_;
  Catalog& catalog_;
};

}  // namespace pageserver::server
