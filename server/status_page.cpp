#include "server/status_page.hpp"

#include <array>
#include <charconv>
#include <iomanip>
#include <sstream>
#include <vector>

#include "base/access.hpp"
#include "base/clock.hpp"
#include "base/random.hpp"
#include "base/text.hpp"
#include "base/units.hpp"
#include "proto/codec.hpp"
#include "server/runtime/version.hpp"

namespace pageserver::server {

namespace {

constexpr std::string_view style = R"(
:root{color-scheme:light dark;font:15px/1.45 system-ui,sans-serif}
body{margin:1rem auto;max-width:76rem;padding:0 1rem}
h1{font-size:1.3rem}h2{font-size:1.05rem;margin:1.4rem 0 .4rem}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.25rem .7rem .25rem 0;border-bottom:1px solid color-mix(in srgb,currentColor 20%,transparent);white-space:nowrap}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.bad{font-weight:600}button,input{font:inherit;padding:.2rem .6rem}
svg{width:20rem;height:3.4rem;display:block;background:color-mix(in srgb,currentColor 6%,transparent)}
path{fill:none;stroke-width:1.2;vector-effect:non-scaling-stroke}.half{stroke:#2b83c4}.most{stroke:#d9730d}
form{display:flex;flex-wrap:wrap;gap:.5rem;align-items:end}label input{display:block;width:9rem}
canvas{max-width:100%;image-rendering:pixelated;border:1px solid color-mix(in srgb,currentColor 25%,transparent);margin:.6rem 0}
#legend b{display:inline-block;width:.8em;height:.8em;margin:0 .3em 0 1em}
.data{background:#2b83c4}.log{background:#d9730d}.held{background:#8e5bc0}.recent{background:#2f9e44}
@media(max-width:40rem){body{padding:0 .5rem}svg{width:11rem}}
)";

// The answers are parsed and never run: what comes into the page are elements with text.
constexpr std::string_view script = R"(
'use strict';
const $=s=>document.querySelector(s),main=$('main'),button=$('#pause'),state=$('#state');
let live=true;
button.hidden=false;
button.addEventListener('click',()=>{live=!live;button.textContent=live?'Pause':'Go on';});
// What did not change stays, so that focus, selection and scrolling do.
function sync(a,b){
  if(a.nodeType!==b.nodeType||a.nodeName!==b.nodeName){a.replaceWith(b);return;}
  if(a.nodeType===3){if(a.data!==b.data)a.data=b.data;return;}
  for(const x of b.attributes)if(a.getAttribute(x.name)!==x.value)a.setAttribute(x.name,x.value);
  for(const x of [...a.attributes])if(!b.hasAttribute(x.name))a.removeAttribute(x.name);
  const next=[...b.childNodes];
  while(a.childNodes.length>next.length)a.lastChild.remove();
  next.forEach((node,i)=>{a.childNodes[i]?sync(a.childNodes[i],node):a.append(node);});
}
async function look(){
  if(!live||document.hidden)return;
  try{
    const answer=await fetch(location.pathname+location.search,{cache:'no-store'});
    // Without its head: the style there has a nonce of its own, which this page does not know.
    const text=await answer.text(),part=text.slice(text.indexOf('<main>'),text.indexOf('</main>'));
    sync(main,new DOMParser().parseFromString(part,'text/html').querySelector('main'));
    state.textContent='';names();
  }catch(error){state.textContent='The daemon does not answer.';}
}
const map=$('#map'),form=$('form'),canvas=$('canvas'),words=$('#words'),kinds=['data','log','held','recent'];
let view=null,drawn=null,loading=false;
map.hidden=false;
function names(){
  const list=$('#stores'),now=[...document.querySelectorAll('[data-store]')].map(e=>e.dataset.store);
  if(list.childElementCount===now.length)return;
  list.replaceChildren(...now.map(n=>{const o=document.createElement('option');o.value=n;return o;}));
  if(!form.store.value&&now.length)form.store.value=now[0];
}
async function load(){
  if(!view||loading||document.hidden)return;
  loading=true;
  try{
    const wanted=view,got={pages:{},tiles:{data:'',log:'',held:'',recent:''}};
    let from=wanted.first,count=wanted.count,tile=Math.max(1,Math.ceil(count/4096)),end=from+Math.max(1,count);
    for(let first=true;from<end;first=false){
      const answer=await fetch('/pages?store='+encodeURIComponent(wanted.store)+'&from='+from+'&tile='+tile+
        '&tiles='+Math.min(4096,count?Math.ceil((end-from)/tile):4096),{cache:'no-store'});
      if(!answer.ok)throw new Error(await answer.text());
      const part=await answer.json();
      if(first&&!count){
        count=Math.max(0,part.pages-from);end=from+count;
        if(count>4096){tile=Math.ceil(count/4096);continue;}
      }
      end=Math.min(part.pages,end);
      for(const k of kinds){got.tiles[k]+=part[k].tiles;got.pages[k]=(got.pages[k]||0)+part[k].pages;}
      got.all=part.pages;
      if(part.next<=from)break;
      from=part.next;
    }
    if(view===wanted){drawn={...wanted,...got,tile,end};draw();}
  }catch(error){words.textContent=error.message;}
  loading=false;
}
function draw(){
  const d=drawn,count=Math.ceil((d.end-d.first)/d.tile),columns=Math.max(8,Math.ceil(Math.sqrt(count))),size=Math.max(4,Math.floor(512/columns));
  d.columns=columns;d.size=size;
  canvas.width=columns*size;canvas.height=Math.max(1,Math.ceil(count/columns))*size;
  const g=canvas.getContext('2d'),style=k=>getComputedStyle($('#legend .'+k)).backgroundColor,colours=kinds.map(style);
  for(let i=0;i<count;i++){
    const x=i%columns*size,y=Math.floor(i/columns)*size,share=k=>parseInt(d.tiles[kinds[k]][i]||'0',16)/15,h=size/2;
    const put=(k,px,py,w,hh)=>{const s=share(k);if(s){g.globalAlpha=.25+.75*s;g.fillStyle=colours[k];g.fillRect(px,py,w,hh);}};
    put(0,x,y,size,size);put(1,x,y+h,h,h);put(2,x+h,y+h,h,h);put(3,x+h,y,h,h);
  }
  g.globalAlpha=1;
  words.textContent='Pages '+d.first+' to '+(Math.max(d.end,1)-1)+' of '+d.all+', '+d.tile+' a tile: '+
    kinds.map((k,i)=>(d.pages[k]||0)+[' with data',' in the log',' held by pins and forks',' written in the last minute'][i]).join(', ')+'.';
  canvas.setAttribute('aria-label',words.textContent);
}
function show(store,first,count){view={store,first,count};load();}
form.addEventListener('submit',event=>{event.preventDefault();show(form.store.value,+form.first.value||0,+form.count.value||0);});
canvas.addEventListener('click',event=>{
  if(!drawn||drawn.tile===1)return;
  const box=canvas.getBoundingClientRect(),s=drawn.size*box.width/canvas.width,
    i=Math.floor((event.clientY-box.top)/s)*drawn.columns+Math.floor((event.clientX-box.left)/s);
  form.first.value=drawn.first+i*drawn.tile;form.count.value=drawn.tile;form.requestSubmit();
});
names();
setInterval(look,2000);
setInterval(load,5000);
)";

// Outside of what is asked for again.
constexpr std::string_view page_map_section =
    "<section id=map hidden><h2>Page map</h2><form><label>store <input name=store list=stores required></label>"
    "<datalist id=stores></datalist><label>first page <input name=first type=number min=0 value=0></label>"
    "<label>pages (0: all) <input name=count type=number min=0 value=0></label><button>Show</button></form>"
    "<p id=legend><b class=data></b>with data<b class=log></b>in the log<b class=held></b>held by pins and forks"
    "<b class=recent></b>written in the last minute</p>"
    "<canvas width=512 height=1 role=img></canvas><p id=words role=status></p></section>";

std::string time_text(std::uint64_t ms) {
  if (ms < 10'000) return std::to_string(ms) + " ms";
  if (ms < 600'000) return std::to_string(ms / 1000) + " s";
  if (ms < 36'000'000) return std::to_string(ms / 60'000) + " min";
  return std::to_string(ms / 3'600'000) + " h";
}

std::string duration_text(double seconds) {
  std::ostringstream text;
  text << std::setprecision(3);
  if (seconds < 1e-3) {
    text << seconds * 1e6 << " µs";
  } else if (seconds < 1) {
    text << seconds * 1e3 << " ms";
  } else {
    text << seconds << " s";
  }
  return text.str();
}

/// The number of the bucket that `share` did not exceed.
std::size_t quantile_bucket(const Durations& durations, double share) {
  const auto rank = static_cast<std::uint64_t>(share * static_cast<double>(durations.count()));
  std::uint64_t so_far = 0;
  for (std::size_t i = 0; i + 1 < duration_buckets; ++i) {
    so_far += durations.counts[i];
    if (so_far > rank) return i;
  }
  return duration_buckets - 1;
}

/// So much was not exceeded by that share: the bound of the bucket.
std::string quantile(const Durations& durations, double share) {
  const std::size_t bucket = quantile_bucket(durations, share);
  if (bucket + 1 < duration_buckets) return "≤ " + duration_text(duration_bound_seconds(bucket));
  return "> " + duration_text(duration_bound_seconds(duration_buckets - 2));
}

class Table {
public:
  Table(std::string& html, std::string_view caption, std::initializer_list<std::string_view> columns) : html_(html) {
    html_ += "<h2>" + base::markup(caption) + "</h2><div class=wide tabindex=0><table><thead><tr>";
    for (const std::string_view column : columns) {
      // A column of numbers begins with #.
      const bool number = column.starts_with('#');
      html_ += number ? "<th scope=col class=n>" : "<th scope=col>";
      html_ += base::markup(column.substr(number ? 1 : 0)) + "</th>";
    }
    html_ += "</tr></thead><tbody>";
  }
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;
  ~Table() { html_ += "</tbody></table></div>"; }

  Table& row() {
    html_ += "<tr>";
    return *this;
  }
  Table& text(std::string_view value) {
    html_ += "<td>" + base::markup(base::visible(value)) + "</td>";
    return *this;
  }
  /// With the name as it is, for the page map.
  Table& store(std::string_view name) {
    html_ += "<td data-store=\"" + base::markup(name) + "\">" + base::markup(base::visible(name)) + "</td>";
    return *this;
  }
  Table& markup(const std::string& html) {
    html_ += "<td>" + html + "</td>";
    return *this;
  }
  Table& bad(std::string_view value) {
    html_ += "<td class=bad>" + base::markup(base::visible(value)) + "</td>";
    return *this;
  }
  Table& number(std::string_view value) {
    html_ += "<td class=n>" + base::markup(value) + "</td>";
    return *this;
  }

private:
  std::string& html_;
};

void tell_rest(std::string& html, std::size_t all, std::size_t shown) {
  if (all > shown) html += "<p>and " + std::to_string(all - shown) + " more</p>";
}

std::string home_text(const std::optional<HomeStat>& home) {
  if (!home) return {};
  return home->name + (home->epoch == 0 ? "" : ", epoch " + std::to_string(home->epoch)) +
         (home->health.empty() ? "" : ", " + home->health);
}

void tell_stores(std::string& html, const ReportSources& sources) {
  const auto stores = sources.catalog.figures();
  {
    Table table(html, "Open stores: " + std::to_string(stores.size()),
                {"store", "#size", "#log", "#not in the image", "#held", "#forks", "writer", "#idle", "#in line",
                 "#sessions", "home", "state"});
    for (std::size_t i = 0; i < std::min(stores.size(), shown_stores_max); ++i) {
      const auto& [name, stat, available] = stores[i];
      table.row()
          .store(name)
          .number(base::bytes_text(stat.pages * page_size))
          .number(base::bytes_text(stat.log_bytes))
          .number(base::bytes_text(stat.checkpoint_lag_bytes))
          .number(base::bytes_text(stat.held_bytes))
          .number(base::bytes_text(stat.fork_bytes))
          .text(stat.writer ? stat.writer->name + " at " + stat.writer->address : std::string())
          .number(stat.writer ? time_text(stat.writer->idle_ms) : std::string())
          .number(std::to_string(stat.writers_waiting))
          .number(std::to_string(stat.sessions_live + stat.sessions_pinned + stat.sessions_write + stat.sessions_fork))
          .text(home_text(stat.home));
      if (stat.last_sync_error.empty()) {
        table.text("well");
      } else {
        table.bad(stat.last_sync_error);
      }
    }
  }
  tell_rest(html, stores.size(), shown_stores_max);
}

std::string rate_text(double per_second) {
  std::ostringstream text;
  text << std::fixed << std::setprecision(per_second != 0 && per_second < 10 ? 1 : 0) << per_second;
  return text.str();
}

void tell_sessions(std::string& html, const ReportSources& sources, const RecentFigures& recent, std::uint64_t after) {
  const std::size_t all = sources.connections();
  const auto records = sources.records(after, shown_sessions_max);
  {
    Table table(html, "Connections: " + std::to_string(all),
                {"#connection", "store", "who", "address", "access", "view", "#requests", "#a second", "#read",
                 "#written", "#last request", "waits for"});
    const std::int64_t now_ms = base::monotonic_ms();
    for (const auto& record : records) {
      DescribedConnection described = record->describe(now_ms);
      const proto::SessionEntry& entry = described.finished();
      const bool session = entry.session_id != 0;
      table.row()
          .number(std::to_string(entry.connection_id))
          .text(entry.store)
          .text(entry.session_name.empty() ? entry.client_name : entry.session_name)
          .text(entry.address)
          .text(session ? base::name_of(entry.access) : "")
          .text(!session                   ? ""
                : entry.view == View::live ? "live"
                                           : "pinned")
          .number(std::to_string(entry.requests))
          .number(rate_text(recent.rate_of(entry.connection_id, entry.requests)))
          .number(base::bytes_text(entry.bytes_read))
          .number(base::bytes_text(entry.bytes_written))
          .number(entry.requests_in_flight != 0 ? "now" : time_text(entry.idle_ms))
          .text(entry.waits_for == WaitsFor::nothing ? std::string_view{} : base::name_of(entry.waits_for));
    }
  }
  if (after != 0) html += "<p><a href=\"/\">The first ones</a></p>";
  if (records.size() == shown_sessions_max)
    html += "<p><a href=\"/?after=" + std::to_string(records.back()->connection_id()) + "\">The next " +
            std::to_string(shown_sessions_max) + "</a></p>";
}

void tell_closed(std::string& html, const ReportSources& sources) {
  const auto closed = sources.closed_sessions.last(shown_closed_max);
  if (closed.empty()) return;
  Table table(html, "Sessions that ended last",
              {"#session", "store", "who", "address", "access", "view", "#requests", "#read", "#written", "#lasted",
               "#ended before", "reason"});
  const std::int64_t now_ms = base::monotonic_ms();
  for (const ClosedSession& session : closed)
    table.row()
        .number(std::to_string(session.id))
        .text(session.store)
        .text(session.name)
        .text(session.address)
        .text(base::name_of(session.access))
        .text(session.view == View::live ? "live" : "pinned")
        .number(std::to_string(session.requests))
        .number(base::bytes_text(session.bytes_read))
        .number(base::bytes_text(session.bytes_written))
        .number(time_text(session.lasted_ms))
        .number(time_text(static_cast<std::uint64_t>(now_ms - session.ended_ms)))
        .text(session.reason);
}

constexpr std::size_t plot_step = 5;  // of one interval, and of a bucket
constexpr std::size_t plot_height = plot_step * (duration_buckets + 1);

/// A line through the quantile of each interval that has one: a double height is a double time.
std::string plot_line(const std::vector<Durations>& intervals, double share, std::string_view style_class) {
  std::string line = "<path class=" + std::string(style_class) + " d=\"";
  bool going_on = false;
  // The newest at the right edge.
  std::size_t x = plot_step * (RecentFigures::intervals_max - intervals.size());
  for (const Durations& interval : intervals) {
    if (interval.count() == 0) {
      going_on = false;
    } else {
      const std::size_t y = plot_height - plot_step * (quantile_bucket(interval, share) + 1);
      line += (going_on ? "L" : "M") + std::to_string(x) + " " + std::to_string(y);
      // An interval is as wide as it lasted, so that one alone is seen, too.
      line += "h" + std::to_string(plot_step);
      going_on = true;
    }
    x += plot_step;
  }
  return line + "\"/>";
}

std::string plot(std::string_view operation, const std::vector<Durations>& intervals) {
  return "<svg role=img preserveAspectRatio=none viewBox=\"0 0 " +
         std::to_string(plot_step * RecentFigures::intervals_max) + " " + std::to_string(plot_height) + "\"><title>" +
         base::markup(operation) +
         ": how long half (blue) and 99 % (orange) took at most, over five minutes, from 1 µs at the bottom to 34 "
         "s</title>" +
         plot_line(intervals, 0.5, "half") + plot_line(intervals, 0.99, "most") + "</svg>";
}

Durations sum_of(const std::vector<Durations>& intervals) {
  Durations sum;
  for (const Durations& interval : intervals) {
    for (std::size_t i = 0; i < duration_buckets; ++i) sum.counts[i] += interval.counts[i];
    sum.sum_ns += interval.sum_ns;
  }
  return sum;
}

void tell_recent(std::string& html, const RecentFigures& recent) {
  const double seconds = recent.seconds();
  if (seconds < 1) return;
  Table table(html, "Requests of the last " + time_text(static_cast<std::uint64_t>(seconds * 1e3)),
              {"operation", "#a second", "#half within", "#99 % within", "half and 99 %, from 1 µs to 34 s"});
  for (std::size_t i = 1; i < operations_counted; ++i) {
    const std::vector<Durations> intervals = recent.of_operation(i);
    const Durations all = sum_of(intervals);
    if (all.count() == 0) continue;
    const std::string operation = proto::to_string(static_cast<proto::Operation>(i));
    table.row()
        .text(operation)
        .number(rate_text(static_cast<double>(all.count()) / seconds))
        .number(quantile(all, 0.5))
        .number(quantile(all, 0.99))
        .markup(plot(operation, intervals));
  }
}

void tell_requests(std::string& html) {
  const auto sums = std::make_unique<RequestSums>();
  RequestFigures::sum_up(*sums);
  Table table(html, "Requests since the start", {"operation", "#answered", "#failed", "#half within", "#99 % within"});
  for (std::size_t i = 1; i < operations_counted; ++i) {
    const Durations& durations = sums->durations[i];
    const std::uint64_t count = durations.count();
    if (count == 0) continue;
    table.row()
        .text(proto::to_string(static_cast<proto::Operation>(i)))
        .number(std::to_string(count))
        .number(std::to_string(sums->failed(i)))
        .number(quantile(durations, 0.5))
        .number(quantile(durations, 0.99));
  }
}

std::string hex(std::uint64_t number) {
  std::array<char, 16> digits;
  return {digits.data(),
          static_cast<std::size_t>(std::to_chars(digits.data(), digits.data() + digits.size(), number, 16).ptr -
                                   digits.data())};
}

std::string_view phase_text(Phase phase) {
  switch (phase) {
    case Phase::starting: return "It is starting: /readyz?verbose says what it waits for.";
    case Phase::serving: return "It serves.";
    case Phase::stopping: return "It is stopping.";
  }
  return {};
}

}  // namespace

StatusPage status_page(const ReportSources& sources, const RecentFigures& recent, std::uint64_t after) {
  const std::string nonce = hex(base::random_number()) + hex(base::random_number());
  StatusPage page;
  page.fields = "Content-Security-Policy: default-src 'none'; img-src data:; connect-src 'self'; style-src 'nonce-" +
                nonce + "'; script-src 'nonce-" + nonce +
                "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\nReferrer-Policy: no-referrer\r\n";
  std::string& html = page.html;
  html =
      "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content=\"width=device-width\">"
      "<title>pageserver</title><link rel=icon href=\"data:,\"><style nonce=" +
      nonce + ">" + std::string(style) + "</style></head><body><h1>" + base::markup(server_name) +
      "</h1><p><button id=pause hidden>Pause</button> <span id=state role=status></span></p><main><p>";
  html += phase_text(sources.phase());
  html += "</p>";
  tell_stores(html, sources);
  tell_recent(html, recent);
  tell_sessions(html, sources, recent, after);
  tell_closed(html, sources);
  tell_requests(html);
  html += "</main>" + std::string(page_map_section) + "<script nonce=" + nonce + ">" + std::string(script) +
          "</script></body></html>\n";
  return page;
}

}  // namespace pageserver::server
