// Completion for three shells. Each asks the daemon for its stores once a URI has come as far as the name.
#include <sstream>
#include <string>
#include <vector>

#include "docs/manuals/tables.hpp"

namespace pageserver::manuals {
namespace {

enum class Kind { none, server, served, image, file };

Kind kind_of(const Command& command, const Operand& operand) {
  const std::string& name = operand.name;
  // A daemon, or one of its stores as well.
  if (name == "SERVER") return command.forms.find("]/STORE") == std::string::npos ? Kind::server : Kind::served;
  if (name == "FILE" || name == "TRACE") return Kind::file;
  if (name == "URI" || name == "SRC" || name == "DST" || name == "A" || name == "B") return Kind::image;
  return Kind::none;  // a number
}

std::string word_of(Kind kind) {
  switch (kind) {
    case Kind::server: return "server";
    case Kind::served: return "served";
    case Kind::image: return "image";
    case Kind::file: return "file";
    case Kind::none: break;
  }
  return "none";
}

/// Those that a command lists below the name of an operand that says what is to be done.
std::vector<std::string> words_of(const Command& command, const Operand& operand) {
  std::vector<std::string> words;
  if (operand.name != "WHAT" && operand.name != "ACTION") return words;
  std::istringstream lines(command.forms);
  bool listed = false;
  for (std::string line; std::getline(lines, line);) {
    if (listed && line.starts_with("  ")) words.push_back(line.substr(2, line.find(' ', 2) - 2));
    listed = line == operand.name + ":" || (listed && line.starts_with("  "));
  }
  return words;
}

/// Those of a value that is one of several: "auto|json|none".
std::vector<std::string> words_of(const Flag& flag) {
  std::vector<std::string> words;
  if (flag.value.find('|') == std::string::npos) return words;
  std::istringstream parts(flag.value);
  for (std::string word; std::getline(parts, word, '|');) words.push_back(word);
  return words;
}

bool takes_store(const Flag& flag) { return flag.value == "STORE"; }

std::string joined(const std::vector<std::string>& words, const char* between = " ") {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : between) + word;
  return text;
}

/// The names of a command's flags that take a value.
std::vector<std::string> valued_flags(const Command& command) {
  std::vector<std::string> names;
  for (const auto& flag : command.flags)
    for (const auto& name : {flag.long_name, flag.short_name})
      if (!name.empty() && !flag.value.empty()) names.push_back(name);
  return names;
}

/// For single quotes of a shell.
std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'')
      out += "'\\''";
    else if (c != '`')
      out += c;
  }
  return out + "'";
}

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

constexpr const char* made = "made by docs/manuals/write_manuals from the commands' own table: change that.";
constexpr const char* limits = "?connect_timeout=1s&request_timeout=2s";

}  // namespace

std::string bash_completion(const Tool& tool) {
  std::string commands, options, values;
  for (const auto& command : tool.commands) {
    commands += (commands.empty() ? "" : " ") + command.name;
    std::string flags, kinds;
    for (const auto& flag : command.flags) {
      for (const auto& name : {flag.long_name, flag.short_name}) {
        if (name.empty()) continue;
        flags += (flags.empty() ? "" : " ") + name;
        const auto words = words_of(flag);
        if (!words.empty())
          values += "    '" + command.name + " " + name + "') _pagectl_words '" + joined(words) + "' ;;\n";
        else if (takes_store(flag))
          values += "    '" + command.name + " " + name + "') _pagectl_names \"$first\" ;;\n";
      }
    }
    for (const auto& operand : command.operands) {
      const auto words = words_of(command, operand);
      kinds += (kinds.empty() ? "" : " ") +
               (words.empty() ? word_of(kind_of(command, operand)) : "words:" + joined(words, ","));
    }
    options += "    " + command.name + ") flags='" + flags + "' valued='" + joined(valued_flags(command), "|") +
               "' kinds=(" + kinds + ") ;;\n";
  }
  return std::string("# bash completion for pagectl; ") + made + R"sh(

# $1: pageserver://HOST[:PORT], or pageservers:// where the system's authorities know the daemon
_pagectl_stores() {
  local name rest
  pagectl list --quiet "$1)sh" +
         limits + R"sh(" 2>/dev/null | while read -r name rest; do echo "$1/$name"; done
}

# $1: a daemon, as its operand has it; empty: none yet. Nothing of what it says is expanded.
_pagectl_names() {
  local name rest limits=')sh" +
         limits + R"sh('
  [ -n "$1" ] || return
  [[ $1 == *\?* ]] && limits="&${limits#\?}"
  while read -r name rest; do [[ $name == "$cur"* ]] && COMPREPLY+=("$name"); done < <(pagectl list --quiet "$1$limits" 2>/dev/null)
}

_pagectl_words() {
  COMPREPLY=($(compgen -W "$1" -- "$cur"))
}

# $1: server, served, image, file, none or words:A,B. Fills COMPREPLY for $cur.
_pagectl_operand() {
  local word server
  COMPREPLY=()
  [ "$1" = none ] && return
  if [[ $1 == words:* ]]; then
    word=${1#words:}
    _pagectl_words "${word//,/ }"
    return
  fi
  if [[ $1 == image || $1 == served ]] && [[ $cur == pageserver://*/* || $cur == pageservers://*/* ]]; then
    server=${cur%/*}
    while read -r word; do [[ $word == "$cur"* ]] && COMPREPLY+=("$word"); done < <(_pagectl_stores "$server")
    return
  fi
  if [ "$1" != file ]; then
    for word in pageserver:// pageservers:// pageserver+unix:///; do [[ $word == "$cur"* ]] && COMPREPLY+=("$word"); done
    [ ${#COMPREPLY[@]} -gt 0 ] && compopt -o nospace 2>/dev/null
  fi
  if [[ $1 != serve* ]]; then
    while read -r word; do COMPREPLY+=("$word"); done < <(compgen -f -- "$cur")
    compopt -o filenames 2>/dev/null
  fi
}

_pagectl() {
  local line=${COMP_LINE:0:COMP_POINT} cur word command= flags valued kinds=() given=0 before= rest= first=
  # Whole words: a URI has colons, at which bash would part it.
  cur=${line##*[[:space:]]}
  line=${line%"$cur"}
  for word in $line; do
    if [ "$word" = "${line%%[[:space:]]*}" ] && [ -z "$before" ]; then
      before=$word
      continue
    fi
    if [ -z "$command" ]; then
      [[ $word == -* ]] || command=$word
      before=$word
      continue
    fi
    _pagectl_table "$command"
    if [ -z "$rest" ] && [ "$word" = -- ]; then
      rest=yes
    elif [ -z "$rest" ] && [[ $word == -* ]]; then
      :
    elif [ -z "$rest" ] && [ -n "$valued" ] && [[ $before =~ ^($valued)$ ]]; then
      :
    else
      given=$((given + 1))
      [ "$given" = 1 ] && first=$word
    fi
    before=$word
  done
  if [ -z "$command" ]; then
    COMPREPLY=($(compgen -W ')sh" +
         commands + R"sh( help --help --version --json --quiet' -- "$cur"))
    return
  fi
  if [ "$command" = help ]; then
    COMPREPLY=($(compgen -W ')sh" +
         commands + R"sh(' -- "$cur"))
    return
  fi
  _pagectl_table "$command"
  COMPREPLY=()
  if [ -z "$rest" ] && [ -n "$valued" ] && [[ $before =~ ^($valued)$ ]]; then
    case "$command $before" in
)sh" + values +
         R"sh(    esac
    return
  fi
  if [ -z "$rest" ] && [[ $cur == -* ]]; then
    COMPREPLY=($(compgen -W "$flags" -- "$cur"))
  else
    _pagectl_operand "${kinds[given]:-none}"
  fi
  # Readline replaces what stands behind the last of its word breaks.
  local breaks= char trim
  for char in : =; do [[ $COMP_WORDBREAKS == *$char* ]] && breaks+=$char; done
  if [ -n "$breaks" ] && [[ $cur == *[$breaks]* ]]; then
    trim=${cur%"${cur##*[$breaks]}"}
    COMPREPLY=("${COMPREPLY[@]#"$trim"}")
  fi
}

# Of a command: its flags, which of them take a value, what its operands are.
_pagectl_table() {
  flags= valued= kinds=()
  case $1 in
)sh" + options +
         R"sh(  esac
}

complete -F _pagectl pagectl
)sh";
}

std::string zsh_completion(const Tool& tool) {
  std::string commands, cases;
  for (const auto& command : tool.commands) {
    commands += "    " + quoted(command.name + ":" + first_line(command.what)) + "\n";
    cases += "    " + command.name + ")\n      _arguments -s -S \\\n";
    const auto spec = [](std::string text) {
      std::string out;
      for (const char c : text) {
        if (c == '[' || c == ']' || c == ':' || c == '\\') out += '\\';
        out += c;
      }
      return out;
    };
    for (const auto& flag : command.flags) {
      const auto words = words_of(flag);
      const std::string action = !words.empty()      ? "(" + joined(words) + ")"
                                 : takes_store(flag) ? "{_pagectl_names '" + joined(valued_flags(command), "|") + "'}"
                                                     : " ";
      const std::string value = flag.value.empty() ? "" : ":" + spec(flag.value) + ":" + action;
      const std::string help = "[" + spec(first_line(flag.help)) + "]";
      for (const auto& name : {flag.long_name, flag.short_name})
        if (!name.empty()) cases += "        " + quoted(name + help + value) + " \\\n";
    }
    for (const auto& operand : command.operands) {
      const Kind kind = kind_of(command, operand);
      const auto words = words_of(command, operand);
      const std::string action = !words.empty()       ? "(" + joined(words) + ")"
                                 : kind == Kind::none ? " "
                                 : kind == Kind::file ? "_files"
                                                      : "_pagectl_" + word_of(kind);
      cases += "        " + quoted(":" + operand.name + ":" + action) + " \\\n";
    }
    cases.replace(cases.size() - 3, 3, "\n      ;;\n");
  }
  return std::string("#compdef pagectl\n# zsh completion for pagectl; ") + made + R"sh(

_pagectl_stores() {
  local server=$1
  local -a found
  found=(${(f)"$(pagectl list --quiet "$server)sh" +
         limits + R"sh(" 2>/dev/null)"})
  compadd -- $server/${^found%%[[:space:]]*}
}

_pagectl_server() {
  compadd -S '' -- pageserver:// pageservers:// 'pageserver+unix:///?socket='
}

_pagectl_served() {
  local typed=${(Q)PREFIX}
  if [[ $typed == pageserver://*/* || $typed == pageservers://*/* ]]; then
    _pagectl_stores ${typed%/*}
    return
  fi
  _pagectl_server
}

# $1: the flags that take a value, as a pattern. The daemon is the first operand.
_pagectl_names() {
  local word before limits=')sh" +
         limits + R"sh('
  local -a found
  for word in ${words[2,-1]}; do
    if [[ $word != -* && $before != (${~1}) ]]; then
      word=${(Q)word}
      [[ $word == *\?* ]] && limits="&${limits#\?}"
      found=(${(f)"$(pagectl list --quiet "$word$limits" 2>/dev/null)"})
      compadd -- ${found%%[[:space:]]*}
      return
    fi
    before=$word
  done
}

_pagectl_image() {
  local typed=${(Q)PREFIX}
  if [[ $typed == pageserver://*/* || $typed == pageservers://*/* ]]; then
    _pagectl_stores ${typed%/*}
    return
  fi
  compadd -S '' -- pageserver:// pageservers:// pageserver+unix:///
  _files
}

_pagectl() {
  local -a commands
  commands=(
)sh" + commands +
         R"sh(  )
  local context state line
  _arguments -C \
    '--json[One JSON document on standard output]' \
    '(-q --quiet)'{-q,--quiet}'[Results and errors only]' \
    '(-)--version[Print the version]' \
    '(-)--help[Print the help]' \
    '1:command:->command' \
    '*::operands:->operands' && return
  if [[ $state == command ]]; then
    _describe command commands
    return
  fi
  case $words[1] in
)sh" + cases +
         R"sh(  esac
}

# Loaded by name, or sourced.
if [[ $funcstack[1] == _pagectl ]]; then
  _pagectl "$@"
elif (( $+functions[compdef] )); then
  compdef _pagectl pagectl
fi
)sh";
}

std::string fish_completion(const Tool& tool) {
  std::string out = std::string("# fish completion for pagectl; ") + made + R"sh(

function __pagectl_images
    __pagectl_stores; and return
    printf '%s\n' pageserver:// pageservers:// pageserver+unix:///
    __fish_complete_path (commandline --current-token)
end

# Where a store is being typed behind its daemon.
function __pagectl_stores
    set -l typed (commandline --current-token)
    if string match --quiet --regex '^pageservers?://.*/' -- $typed
        set -l server (string replace --regex '/[^/]*$' '' -- $typed)
        for line in (pagectl list --quiet "$server)sh" +
                    limits + R"sh(" 2>/dev/null)
            echo $server/(string split --max 1 ' ' -- $line)[1]
        end
        return 0
    end
    return 1
end

function __pagectl_served
    __pagectl_stores; or __pagectl_servers
end

# The arguments: the flags that take a value. The daemon is the first operand.
function __pagectl_names
    set -l before
    set -l limits ')sh" +
                    limits + R"sh('
    for word in (commandline --tokenize --cut-at-cursor --current-process)[3..-1]
        if not string match --quiet -- '-*' $word; and not contains -- "$before" $argv
            string match --quiet -- '*\?*' $word; and set limits (string replace '?' '&' -- $limits)
            for line in (pagectl list --quiet $word$limits 2>/dev/null)
                echo (string split --max 1 ' ' -- $line)[1]
            end
            return
        end
        set before $word
    end
end

function __pagectl_servers
    printf '%s\n' pageserver:// pageservers:// 'pageserver+unix:///?socket='
end

complete --command pagectl --no-files
complete --command pagectl --condition __fish_use_subcommand --arguments help --description 'Print the help'
complete --command pagectl --condition __fish_use_subcommand --long-option version --description 'Print the version'
complete --command pagectl --condition '__fish_seen_subcommand_from help' --arguments ')sh";
  std::string names;
  for (const auto& command : tool.commands) names += (names.empty() ? "" : " ") + command.name;
  out += names + "'\n";
  for (const auto& command : tool.commands) {
    out += "\ncomplete --command pagectl --condition __fish_use_subcommand --arguments " + command.name +
           " --description " + quoted(first_line(command.what)) + "\n";
    const std::string here =
        "complete --command pagectl --condition '__fish_seen_subcommand_from " + command.name + "'";
    bool files = false;
    bool images = false;
    bool servers = false;
    bool served = false;
    for (const auto& operand : command.operands) {
      const Kind kind = kind_of(command, operand);
      files = files || kind == Kind::file;
      images = images || kind == Kind::image;
      servers = servers || kind == Kind::server;
      served = served || kind == Kind::served;
      if (const auto words = words_of(command, operand); !words.empty())
        out += here + " --arguments " + quoted(joined(words)) + "\n";
    }
    if (served) out += here + " --arguments '(__pagectl_served)'\n";
    if (images) out += here + " --arguments '(__pagectl_images)'\n";
    if (servers) out += here + " --arguments '(__pagectl_servers)'\n";
    if (files) out += here + " --force-files\n";
    for (const auto& flag : command.flags) {
      out += here;
      if (!flag.short_name.empty()) out += " --short-option " + flag.short_name.substr(1);
      if (!flag.long_name.empty()) out += " --long-option " + flag.long_name.substr(2);
      if (!flag.value.empty()) out += " --exclusive";
      if (const auto words = words_of(flag); !words.empty())
        out += " --arguments " + quoted(joined(words));
      else if (takes_store(flag))
        out += " --arguments " + quoted("(__pagectl_names " + joined(valued_flags(command)) + ")");
      out += " --description " + quoted(first_line(flag.help)) + "\n";
    }
  }
  return out;
}

}  // namespace pageserver::manuals
