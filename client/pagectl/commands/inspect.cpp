// inspect: what is inside an image.
#include <algorithm>
#include <array>

#include <nlohmann/json.hpp>

#include <pageserver/error.hpp>

#include "client/pagectl/commands/commands.hpp"
#include "client/pagectl/commands/describe.hpp"
#include "client/pagectl/commands/layout_map.hpp"
#include "client/pagectl/commands/layout_report.hpp"
#include "client/pagectl/layout/dbms_page.hpp"
#include "client/pagectl/terminal/numbers.hpp"
#include "client/pagectl/work/compare.hpp"
#include "client/pagectl/work/image_source.hpp"

namespace pageserver::pagectl {
namespace {

using Json = nlohmann::ordered_json;
namespace dbms = layout::dbms;

/// So many orphan runs and problems are named; the rest is counted. `verify` names them all.
constexpr std::uint64_t named_max = 20;

struct Pages {
  std::array<std::uint64_t, layout::roles> of_role{};
  std::vector<OrphanRun> orphans;
  std::uint64_t orphan_runs = 0;
};

Pages pages_of(const dbms::Database& database, layout::Findings& findings) {
  Pages pages;
  dbms::mark_all(database, findings, [&](const layout::Owners& owners) {
    for (std::uint64_t page = owners.first(); page < owners.end(); ++page)
      ++pages.of_role[static_cast<std::size_t>(owners.of(page).role)];
    find_orphans(database.source(), owners, [&](const OrphanRun& run) {
      if (++pages.orphan_runs <= named_max) pages.orphans.push_back(run);
    });
  });
  return pages;
}

std::string roles_text(const Pages& pages) {
  std::string text;
  for (std::size_t i = 0; i < layout::roles; ++i) {
    const std::uint64_t count = pages.of_role[i];
    if (count == 0) continue;
    text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + layout::role_text(static_cast<layout::Role>(i));
  }
  return text;
}

void print_database(Context& context, const dbms::Database& database) {
  std::vector<layout::Finding> named;
  layout::Findings findings([&](const layout::Finding& finding) {
    if (named.size() < named_max) named.push_back(finding);
  });
  if (database.release() == dbms::Release::before_0_10) {
    context.result(database.rights().value_or(0) == 0
                       ? "its page 1 is for access rights, and empty: engines of 0.10 and later can open it, too"
                       : "its page 1 holds access rights of " + std::to_string(*database.rights()) +
                             (*database.rights() == 1 ? " identity" : " identities"));
  }
  database.check_front(findings);
  const Pages pages = pages_of(database, findings);
  for (const dbms::Table& table : database.tables()) {
    // Line by line: what it is called may hold anything.
    context.out.line(shown(table_text(examine_table(database, table, dbms::Depth::counts, findings))));
  }
  context.result("pages: " + roles_text(pages));
  for (const OrphanRun& run : pages.orphans) context.result("  " + orphan_text(run));
  if (pages.orphan_runs > named_max)
    context.result("  and " + std::to_string(pages.orphan_runs - named_max) + " more stretches that belong to nothing");
  for (const auto& finding : named) context.result(finding_text(finding));
  const std::uint64_t all = findings.errors() + findings.warnings();
  if (all > named_max) context.result("and " + std::to_string(all - named_max) + " more: `pagectl verify` names them");
  if (findings.errors() > 0)
    context.result("it contradicts itself: half a commit looks like that. `pagectl verify` compares all of it");
}

void write_database(JsonStream& json, const dbms::Database& database) {
  std::vector<layout::Finding> named;
  layout::Findings findings([&](const layout::Finding& finding) {
    if (named.size() < named_max) named.push_back(finding);
  });
  database.check_front(findings);
  json.member("schema_hash", hex16(database.directory().schema_hash));
  json.member("rights", database.rights() ? Json(*database.rights()) : Json(nullptr));
  const Pages pages = pages_of(database, findings);
  Json roles = Json::object();
  for (std::size_t i = 0; i < layout::roles; ++i)
    roles[layout::role_name(static_cast<layout::Role>(i))] = pages.of_role[i];
  json.member("pages_by_role", roles);
  auto orphans = Json::array();
  for (const OrphanRun& run : pages.orphans)
    orphans.push_back({{"page", run.first}, {"pages", run.count}, {"zeros", run.zeros}});
  json.member("orphans", orphans);
  json.member("orphan_runs", pages.orphan_runs);
  json.begin_list("tables");
  for (const dbms::Table& table : database.tables())
    json.element(table_json(examine_table(database, table, dbms::Depth::counts, findings)));
  json.end_list();
  auto list = Json::array();
  for (const auto& finding : named) list.push_back(finding_json(finding));
  json.member("findings", list);
  json.member("errors", findings.errors());
  json.member("warnings", findings.warnings());
}

void print_stable(Context& context, layout::Kind kind, layout::Source& source) {
  layout::Findings findings([&](const layout::Finding& finding) { context.result(finding_text(finding)); });
  if (kind == layout::Kind::structure) {
    context.result(structure_text(layout::stable::examine(layout::stable::Memory(source), false, findings)));
    return;
  }
  const auto manager =
      layout::stable::examine_manager(source, false, findings, [&](const layout::stable::ManagedMemory& memory) {
        context.result("memory " + std::to_string(memory.id) + ": " + structure_text(memory.structure) + ", in " +
                       std::to_string(memory.buckets) + (memory.buckets == 1 ? " bucket" : " buckets"));
      });
  context.result(std::to_string(manager.buckets) + " buckets of " + pages_text(manager.bucket_pages) +
                 " are given away");
}

void write_stable(JsonStream& json, layout::Kind kind, layout::Source& source) {
  auto found = Json::array();
  layout::Findings findings([&](const layout::Finding& finding) {
    if (found.size() < named_max) found.push_back(finding_json(finding));
  });
  if (kind == layout::Kind::structure) {
    json.member("structure", structure_json(layout::stable::examine(layout::stable::Memory(source), false, findings)));
  } else {
    json.begin_list("memories");
    const auto manager =
        layout::stable::examine_manager(source, false, findings, [&](const layout::stable::ManagedMemory& memory) {
          Json one{{"id", memory.id}, {"buckets", memory.buckets}};
          one.update(structure_json(memory.structure));
          json.element(one);
        });
    json.end_list();
    json.member("buckets", manager.buckets);
    json.member("bucket_pages", manager.bucket_pages);
  }
  json.member("findings", found);
  json.member("errors", findings.errors());
}

void show_page(Context& context, const layout::Recognised& found, layout::Source& source, std::uint64_t page) {
  if (page >= source.pages()) {
    throw MemoryError(Errc::out_of_bounds, "inspect page " + std::to_string(page) + ": the image has " +
                                               pages_text(source.pages()) + "; the last one is " +
                                               (source.pages() == 0 ? "none" : std::to_string(source.pages() - 1)));
  }
  std::string role = "unknown";
  std::string text = "of a layout that is not known";
  layout::Owner owner;
  if (found.database) {
    owner = dbms::owner_of(*found.database, page);
    role = layout::role_name(owner.role);
    text = owner.role == layout::Role::none ? "belongs to nothing" : found.database->owner_text(owner);
  }
  std::optional<JsonStream> json;
  if (context.json) {
    json.emplace(context.out);
    json->member("page", page);
    json->member("role", role);
    json->member("table", found.database && owner.role >= layout::Role::schema
                              ? Json(found.database->tables()[owner.table].name)
                              : Json(nullptr));
    json->begin_list("fields");
  } else {
    context.result("page " + std::to_string(page) + ": " + text);
  }
  const auto show = [&](const layout::PageField& field) {
    if (json) {
      json->element({{"offset", field.at}, {"length", field.length}, {"name", field.name}, {"value", field.text}});
      return;
    }
    const std::string at = std::to_string(field.at);
    const std::string length = std::to_string(field.length);
    context.result(std::string(at.size() < 6 ? 6 - at.size() : 0, ' ') + at +
                   std::string(length.size() < 6 ? 6 - length.size() : 0, ' ') + length + "  " + field.name +
                   (field.text.empty() ? "" : ": ") + field.text);
  };
  if (found.database) {
    dbms::describe_page(*found.database, page, owner, show);
  } else {
    std::vector<std::byte> bytes(page_size);
    source.read_page(page, bytes);
    show({0, page_size, "bytes", layout::all_zero(bytes) ? "zeros" : "unknown: `pagectl read --hex` shows them"});
  }
  if (!json) return;
  json->end_list();
  json->finish();
}

}  // namespace

int run_inspect(Context& context, const InspectOptions& options) {
  const auto image = open_to_look(context, options.uri, "inspect");
  const auto version = image->version();
  Progress progress(context.progress_kind(), "inspect", image->size_bytes());
  ImageSource source(*image, progress);
  const layout::Recognised found = layout::recognise(source);
  if (options.page) {
    show_page(context, found, source, *options.page);
    check_one_version(*image, version);
    return exit_done;
  }
  if (options.map || options.svg) {
    if (!found.database) {
      throw MemoryError(Errc::unsupported, "map of " + options.uri + ": it is " + layout_text(found) +
                                               ", and only pages of a wasm-dbms database have a map");
    }
    if (options.svg)
      write_svg_map(context, *found.database);
    else
      print_map(context, *found.database);
    check_one_version(*image, version);
    return exit_done;
  }
  if (context.json) {
    JsonStream json(context.out);
    json.member("uri", options.uri);
    json.member("layout", layout_name(found));
    json.member("pages", source.pages());
    json.member("size_bytes", source.pages() * page_size);
    json.member("version", version_json(version));
    if (found.database) write_database(json, *found.database);
    if (layout::is_stable(found.kind)) write_stable(json, found.kind, source);
    if (found.kind == layout::Kind::unknown) json.member("why", found.why);
    json.member("consistent", check_one_version(*image, version));
    json.finish();
    return exit_done;
  }
  context.result(options.uri + ": " + layout_text(found) + ", " + pages_text(source.pages()) + ", " +
                 bytes_text(source.pages() * page_size));
  if (found.database) print_database(context, *found.database);
  if (layout::is_stable(found.kind)) print_stable(context, found.kind, source);
  if (found.kind == layout::Kind::unknown) context.result("it " + found.why);
  check_one_version(*image, version);
  return exit_done;
}

}  // namespace pageserver::pagectl
