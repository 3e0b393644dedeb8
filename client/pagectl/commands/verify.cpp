// verify: whether what is inside an image agrees with itself.
#include <nlohmann/json.hpp>

#include "client/pagectl/commands/commands.hpp"
#include "client/pagectl/commands/describe.hpp"
#include "client/pagectl/commands/layout_report.hpp"
#include "client/pagectl/terminal/numbers.hpp"
#include "client/pagectl/work/compare.hpp"
#include "client/pagectl/work/image_source.hpp"

namespace pageserver::pagectl {
namespace {

namespace dbms = layout::dbms;

void verify_database(const dbms::Database& database, layout::Findings& findings) {
  database.check_front(findings);
  dbms::mark_all(database, findings, [&](const layout::Owners& owners) {
    find_orphans(database.source(), owners, [&](const OrphanRun& run) {
      findings.warning("orphan", run.first, 0, orphan_text(run) + ": lost room, as any error of the engine leaves it");
    });
  });
  for (const dbms::Table& table : database.tables()) examine_table(database, table, dbms::Depth::all, findings);
}

}  // namespace

int run_verify(Context& context, const VerifyOptions& options) {
  const auto image = open_to_look(context, options.uri, "verify");
  const auto version = image->version();
  Progress progress(context.progress_kind(), "verify", image->size_bytes());
  ImageSource source(*image, progress);
  const layout::Recognised found = layout::recognise(source);
  std::optional<JsonStream> json;
  if (context.json) {
    json.emplace(context.out);
    json->member("uri", options.uri);
    json->member("layout", layout_name(found));
    json->member("pages", source.pages());
    json->member("version", version_json(version));
    json->begin_list("findings");
  }
  layout::Findings findings([&](const layout::Finding& finding) {
    if (json)
      json->element(finding_json(finding));
    else if (finding.severity == layout::Severity::error)
      context.result(finding_text(finding));
    else
      context.note(finding_text(finding));
  });
  if (found.database) verify_database(*found.database, findings);
  if (found.kind == layout::Kind::structure) layout::stable::examine(layout::stable::Memory(source), true, findings);
  if (found.kind == layout::Kind::manager)
    layout::stable::examine_manager(source, true, findings, [](const layout::stable::ManagedMemory&) {});
  if (found.kind == layout::Kind::unknown)
    findings.error("unknown", 0, 0, "the image " + found.why + ": nothing to hold it to");
  const bool consistent = check_one_version(*image, version);
  if (json) {
    json->end_list();
    json->member("errors", findings.errors());
    json->member("warnings", findings.warnings());
    json->member("ok", findings.errors() == 0);
    json->member("consistent", consistent);
    json->finish();
  }
  const std::string counts = std::to_string(findings.errors()) + (findings.errors() == 1 ? " error, " : " errors, ") +
                             std::to_string(findings.warnings()) +
                             (findings.warnings() == 1 ? " warning" : " warnings");
  context.note(options.uri + ": " + layout_text(found) + ", " + pages_text(source.pages()) + ": " +
               (findings.errors() + findings.warnings() == 0 ? "it agrees with itself" : counts));
  return findings.errors() == 0 ? exit_done : exit_failed;
}

}  // namespace pageserver::pagectl
