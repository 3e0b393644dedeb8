// What inspect and verify say of the inside of an image. Nothing is kept: memory does not follow the image's size.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <nlohmann/json.hpp>

#include "client/pagectl/commands/context.hpp"
#include "client/pagectl/images/image.hpp"
#include "client/pagectl/layout/dbms_table.hpp"
#include "client/pagectl/layout/recognise.hpp"
#include "client/pagectl/layout/stable.hpp"

namespace pageserver::pagectl {

/// One JSON object that goes out member by member, so that lists of any length take no memory.
class JsonStream {
public:
  using Json = nlohmann::ordered_json;
  explicit JsonStream(Output& out) : out_(out) { out_.text("{"); }
  JsonStream(const JsonStream&) = delete;
  JsonStream& operator=(const JsonStream&) = delete;
  void member(const std::string& key, const Json& value);
  void begin_list(const std::string& key);
  void element(const Json& value);
  void end_list();
  /// The document is whole behind this.
  void finish();

private:
  void next();
  Output& out_;
  bool in_list_ = false;
  bool first_ = true;
};

/// An image opened to be looked at: all reads see one version where the store can pin.
std::unique_ptr<Image> open_to_look(const Context& context, const std::string& uri, const std::string& command);

/// "wasm-dbms 0.10 or later", and the same for programs: "wasm-dbms-0.10", "wasm-dbms-0.9", "ic-stable-memories",
/// "ic-stable-structure", "empty", "unknown".
std::string layout_text(const layout::Recognised& found);
std::string layout_name(const layout::Recognised& found);

std::string finding_text(const layout::Finding& finding);
nlohmann::ordered_json finding_json(const layout::Finding& finding);

/// "page 3", "pages 3-7"
std::string pages_run_text(std::uint64_t first, std::uint64_t count);
/// "3, 5-9, 12" and, where there are more runs, "...".
std::string page_numbers_text(const std::vector<std::uint32_t>& pages);

std::string table_text(const layout::dbms::TableReport& report);
nlohmann::ordered_json table_json(const layout::dbms::TableReport& report);

std::string structure_text(const layout::stable::Structure& structure);
nlohmann::ordered_json structure_json(const layout::stable::Structure& structure);

/// Pages that belong to nothing, run by run, in one stretch of an image.
struct OrphanRun {
  std::uint64_t first = 0;
  std::uint64_t count = 0;
  bool zeros = true;
};
void find_orphans(layout::Source& source, const layout::Owners& owners,
                  const std::function<void(const OrphanRun&)>& sink);
std::string orphan_text(const OrphanRun& run);

}  // namespace pageserver::pagectl
