#include "server/page_maps.hpp"

#include <algorithm>
#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <atomic>
#include <charconv>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/clock.hpp"

namespace pageserver::server {

namespace {

constexpr std::chrono::milliseconds look_again{2};

std::optional<std::uint64_t> number_of(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// Percent-decoded; nothing where that can't be done.
std::optional<std::string> decoded(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      plain += text[i];
      continue;
    }
    unsigned value = 0;
    if (text.size() - i < 3) return std::nullopt;
    const auto [end, error] = std::from_chars(text.data() + i + 1, text.data() + i + 3, value, 16);
    if (error != std::errc{} || end != text.data() + i + 3) return std::nullopt;
    plain += static_cast<char>(value);
    i += 2;
  }
  return plain;
}

/// How much of a tile that is, as one digit: 0 is nothing, f is all of it, and between them lies what is neither.
char share_digit(std::uint64_t part, std::uint64_t whole) {
  constexpr std::string_view digits = "0123456789abcdef";
  if (part == 0) return digits.front();
  if (part >= whole) return digits.back();
  return digits[1 + part * 14 / whole];
}

std::string json_of(const PageMapQuestion& question, const storage::PageMap& map) {
  storage::PageTile sum;
  std::string data, logged, held, recent;
  for (const storage::PageTile& tile : map.tiles) {
    sum.data += tile.data;
    sum.logged += tile.logged;
    sum.held += tile.held;
    sum.recent += tile.recent;
    data += share_digit(tile.data, tile.pages);
    logged += share_digit(tile.logged, tile.pages);
    held += share_digit(tile.held, tile.pages);
    recent += share_digit(tile.recent, tile.pages);
  }
  const auto kind = [](std::uint64_t pages, std::string& tiles) {
    return nlohmann::json{{"pages", pages}, {"tiles", std::move(tiles)}};
  };
  return nlohmann::json{{"store", question.store},       {"pages", map.pages},
                        {"version", map.version.number}, {"from", question.request.first_page},
                        {"next", map.next_page},         {"pages_per_tile", question.request.pages_per_tile},
                        {"data", kind(sum.data, data)},  {"log", kind(sum.logged, logged)},
                        {"held", kind(sum.held, held)},  {"recent", kind(sum.recent, recent)}}
             .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) +
         "\n";
}

}  // namespace

std::optional<PageMapQuestion> page_map_question(std::string_view query, std::string& fault) {
  PageMapQuestion question;
  question.request.tiles_max = PageMaps::tiles_max;
  while (!query.empty()) {
    const std::string_view part = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), part.size() + 1));
    const std::string_view key = part.substr(0, part.find('='));
    const std::string_view value = part.substr(std::min(part.size(), key.size() + 1));
    const auto number = number_of(value);
    if (key == "store") {
      const auto name = decoded(value);
      if (!name) return fault = "store is not percent-encoded", std::nullopt;
      question.store = *name;
    } else if (key == "from" && number) {
      question.request.first_page = *number;
    } else if (key == "tile" && number && *number != 0 && *number <= PageMaps::pages_per_tile_max) {
      question.request.pages_per_tile = *number;
    } else if (key == "tiles" && number && *number != 0 && *number <= PageMaps::tiles_max) {
      question.request.tiles_max = *number;
    } else {
      fault = "store=NAME is wanted, and there may be from=PAGE, tile=PAGES, which is 1 to " +
              std::to_string(PageMaps::pages_per_tile_max) + ", and tiles=COUNT, which is 1 to " +
              std::to_string(PageMaps::tiles_max);
      return std::nullopt;
    }
  }
  if (question.store.empty()) return fault = "store=NAME is wanted", std::nullopt;
  return question;
}

struct PageMaps::Asking {
  Asking(asio::io_context& context, PageMapQuestion what) : timer(context), question(std::move(what)) {}
  asio::steady_timer timer;
  PageMapQuestion question;
  std::int64_t began_ms = base::monotonic_ms();
  std::shared_ptr<HostUse> use;
  std::shared_ptr<StoreHost::MapOfPages> map;
  std::function<void(Told told)> told;
};

void PageMaps::ask(std::string_view query, std::function<void(Told told)> told) {
  std::string fault;
  auto question = page_map_question(query, fault);
  if (!question) return told({400, fault + "\n"});
  const auto asking = std::make_shared<Asking>(worker_.context(), std::move(*question));
  asking->told = std::move(told);
  asking->use = catalog_.look(asking->question.store);
  if (asking->use == nullptr || !asking->use->host().is_open())
    return asking->told({404, "there is no open store of that name\n"});
  asking->map = asking->use->host().map_pages(asking->question.request);
  if (asking->map == nullptr) return asking->told({503, "the store still looks for who asked before; ask again\n"});
  look(asking);
}

void PageMaps::look(const std::shared_ptr<Asking>& asking) {
  if (asking->map->ready) {
    if (!asking->map->error.empty()) return asking->told({503, std::string(asking->map->error) + "\n"});
    return asking->told({200, json_of(asking->question, asking->map->map)});
  }
  if (const std::int64_t waited_ms = base::monotonic_ms() - asking->began_ms; waited_ms >= patience.count())
    return asking->told({503, "the store has not answered for " + std::to_string(waited_ms) + " ms; ask again\n"});
  asking->timer.expires_after(look_again);
  asking->timer.async_wait([this, asking](const std::error_code& error) {
    if (!error) look(asking);
  });
}

}  // namespace pageserver::server
