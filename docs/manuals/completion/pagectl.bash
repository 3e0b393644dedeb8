# bash completion for pagectl; made by docs/manuals/write_manuals from the commands' own table: change that.

# $1: pageserver://HOST[:PORT], or pageservers:// where the system's authorities know the daemon
_pagectl_stores() {
  local name rest
  pagectl list --quiet "$1?connect_timeout=1s&request_timeout=2s" 2>/dev/null | while read -r name rest; do echo "$1/$name"; done
}

# $1: a daemon, as its operand has it; empty: none yet. Nothing of what it says is expanded.
_pagectl_names() {
  local name rest limits='?connect_timeout=1s&request_timeout=2s'
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
    COMPREPLY=($(compgen -W 'list ping sessions top kick takeover whoami token faults run create remove info lease read write grow copy diff hash inspect verify mount replay bench plot check recover help --help --version --json --quiet' -- "$cur"))
    return
  fi
  if [ "$command" = help ]; then
    COMPREPLY=($(compgen -W 'list ping sessions top kick takeover whoami token faults run create remove info lease read write grow copy diff hash inspect verify mount replay bench plot check recover' -- "$cur"))
    return
  fi
  _pagectl_table "$command"
  COMPREPLY=()
  if [ -z "$rest" ] && [ -n "$valued" ] && [[ $before =~ ^($valued)$ ]]; then
    case "$command $before" in
    'ping --store') _pagectl_names "$first" ;;
    'sessions --store') _pagectl_names "$first" ;;
    'read --progress') _pagectl_words 'auto json none' ;;
    'write --progress') _pagectl_words 'auto json none' ;;
    'copy --progress') _pagectl_words 'auto json none' ;;
    'diff --progress') _pagectl_words 'auto json none' ;;
    'hash --progress') _pagectl_words 'auto json none' ;;
    'inspect --progress') _pagectl_words 'auto json none' ;;
    'verify --progress') _pagectl_words 'auto json none' ;;
    'replay --progress') _pagectl_words 'auto json none' ;;
    'bench --progress') _pagectl_words 'auto json none' ;;
    'plot --progress') _pagectl_words 'auto json none' ;;
    'check --progress') _pagectl_words 'auto json none' ;;
    'recover --progress') _pagectl_words 'auto json none' ;;
    esac
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
    list) flags='--help -h --json --quiet -q' valued='' kinds=(server) ;;
    ping) flags='--help -h --json --quiet -q --store --all --wait --timeout' valued='--store|--wait|--timeout' kinds=(served) ;;
    sessions) flags='--help -h --json --quiet -q --store' valued='--store' kinds=(server) ;;
    top) flags='--help -h --json --quiet -q --count --interval' valued='--count|--interval' kinds=(server) ;;
    kick) flags='--help -h --json --quiet -q --connection --reason' valued='--reason' kinds=(server none) ;;
    takeover) flags='--help -h --json --quiet -q --dead' valued='' kinds=(image) ;;
    whoami) flags='--help -h --json --quiet -q' valued='' kinds=(image) ;;
    token) flags='--help -h --json --quiet -q --add-to --save' valued='--add-to|--save' kinds=(words:create none) ;;
    faults) flags='--help -h --json --quiet -q --add --clear' valued='--add' kinds=(image) ;;
    run) flags='--help -h --json --quiet -q --faults --image --daemon' valued='--faults|--image|--daemon' kinds=(none) ;;
    create) flags='--help -h --json --quiet -q --pages' valued='--pages' kinds=(image) ;;
    remove) flags='--help -h --json --quiet -q' valued='' kinds=(image) ;;
    info) flags='--help -h --json --quiet -q' valued='' kinds=(image) ;;
    lease) flags='--help -h --json --quiet -q --break' valued='' kinds=(image) ;;
    read) flags='--help -h --json --quiet -q --progress --hex' valued='--progress' kinds=(image none none) ;;
    write) flags='--help -h --json --quiet -q --progress' valued='--progress' kinds=(image none) ;;
    grow) flags='--help -h --json --quiet -q' valued='' kinds=(image none) ;;
    copy) flags='--help -h --json --quiet -q --progress --force -f --check' valued='--progress' kinds=(image image) ;;
    diff) flags='--help -h --json --quiet -q --progress --layout' valued='--progress' kinds=(image image) ;;
    hash) flags='--help -h --json --quiet -q --progress' valued='--progress' kinds=(image) ;;
    inspect) flags='--help -h --json --quiet -q --progress --page --map --svg' valued='--progress|--page' kinds=(image) ;;
    verify) flags='--help -h --json --quiet -q --progress' valued='--progress' kinds=(image) ;;
    mount) flags='--help -h --json --quiet -q --foreground --read-only --allow-other --ready-fd --log --option -o' valued='--ready-fd|--log|--option|-o' kinds=(image file) ;;
    replay) flags='--help -h --json --quiet -q --progress --depth' valued='--progress|--depth' kinds=(file image) ;;
    bench) flags='--help -h --json --quiet -q --progress --size --depth --write --seconds --count --sequential --seed' valued='--progress|--size|--depth|--write|--seconds|--count|--seed' kinds=(image) ;;
    plot) flags='--help -h --json --quiet -q --progress' valued='--progress' kinds=(words:trace,bench file) ;;
    check) flags='--help -h --json --quiet -q --progress' valued='--progress' kinds=(file) ;;
    recover) flags='--help -h --json --quiet -q --progress --adopt --drop-log' valued='--progress' kinds=(file) ;;
  esac
}

complete -F _pagectl pagectl
