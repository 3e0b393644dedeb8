# fish completion for pagectl; made by docs/manuals/write_manuals from the commands' own table: change that.

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
        for line in (pagectl list --quiet "$server?connect_timeout=1s&request_timeout=2s" 2>/dev/null)
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
    set -l limits '?connect_timeout=1s&request_timeout=2s'
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
complete --command pagectl --condition '__fish_seen_subcommand_from help' --arguments 'list ping sessions top kick takeover whoami token faults run create remove info lease read write grow copy diff hash inspect verify mount replay bench plot check recover'

complete --command pagectl --condition __fish_use_subcommand --arguments list --description 'List a daemon'\''s stores'
complete --command pagectl --condition '__fish_seen_subcommand_from list' --arguments '(__pagectl_servers)'
complete --command pagectl --condition '__fish_seen_subcommand_from list' --short-option h --long-option help --description 'Print this help message and exit'
complete --command pagectl --condition '__fish_seen_subcommand_from list' --long-option json --description 'One JSON document on standard output'
complete --command pagectl --condition '__fish_seen_subcommand_from list' --short-option q --long-option quiet --description 'No progress and no word on what was done: results and errors only'

complete --command pagectl --condition __fish_use_subcommand --arguments ping --description 'See whether a daemon, or one of its stores, answers'
complete --command pagectl --condition '__fish_seen_subcommand_from ping' --arguments '(__pagectl_served)'
complete --command pagectl --condition '__fish_seen_subcommand_from ping' --short-option h --long-option help --description 'Print this help message and exit'
complete --command pagectl --condition '__fish_seen_subcommand_from ping' --long-option json --description 'One JSON document on standard output'
complete --command pagectl --condition '__fish_seen_subcommand_from ping' --short-option q --long-option quiet --description 'No progress and no word on what was done: results and errors only'
complete --command pagectl --condition '__fish_seen_subcommand_from ping' --long-option store --exclusive --arguments '(__pagectl_names --store --wait --timeout)' --description 'Ask this store of the daemon, by its name; may be given several times'
complete --command pagectl --condition '__fish_seen_subcommand_from ping' --long-option all --description 'Ask each store that the daemon has open'
complete --command pagectl --condition '__fish_seen_subcommand_from ping' --long-option wait --exclusive --description 'Keep trying for so long: milliseconds, or 10s, 2m, 1h'
complete --command pagectl --condition '__fish_seen_subcommand_from ping' --long-option timeout --exclusive --description 'A store: answer within so long, and no call to its disk may take longer (default 5s)'

complete --command pagectl --condition __fish_use_subcommand --arguments sessions --description 'Show who uses a daemon, and how'
complete --command pagectl --condition '__fish_seen_subcommand_from sessions' --arguments '(__pagectl_servers)'
complete --command pagectl --condition '__fish_seen_subcommand_from sessions' --short-option h --long-option help --description 'Print this help message and exit'
complete --command pagectl --condition '__fish_seen_subcommand_from sessions' --long-option json --description 'One JSON document on standard output'
complete --command pagectl --condition '__fish_seen_subcommand_from sessions' --short-option q --long-option quiet --description 'No progress and no word on what was done: results and errors only'
complete --command pagectl --condition '__fish_seen_subcommand_from sessions' --long-option store --exclusive --arguments '(__pagectl_names --store)' --description 'Only those on this store, or waiting for it'

complete --command pagectl --condition __fish_use_subcommand --arguments top --description 'Watch who uses a daemon, and how much'
complete --command pagectl --condition '__fish_seen_subcommand_from top' --arguments '(__pagectl_servers)'
complete --command pagectl --condition '__fish_seen_subcommand_from top' --short-option h --long-option help --description 'Print this help message and exit'
complete --command pagectl --condition '__fish_seen_subcommand_from top' --long-option json --description 'One JSON document on standard output'
complete --command pagectl --condition '__fish_seen_subcommand_from top' --short-option q --long-option quiet --description 'No progress and no word on what was done: results and errors only'
complete --command pagectl --condition '__fish_seen_subcommand_from top' --long-option count --exclusive --description 'End after so many looks (default: at q or a signal; with --json 1)'
complete --command pagectl --condition '__fish_seen_subcommand_from top' --long-option interval --exclusive --description 'Time from look to look: 500ms, 10s (default 1s, at least 100ms)'

complete --command pagectl --condition __fish_use_subcommand --arguments kick --description 'End a session'
complete --command pagectl --condition '__fish_seen_subcommand_from kick' --arguments '(__pagectl_servers)'
complete --command pagectl --condition '__fish_seen_subcommand_from kick' --short-option h --long-option help --description 'Print this help message and exit'
complete --command pagectl --condition '__fish_seen_subcommand_from kick' --long-option json --description 'One JSON document on standard output'
complete --command pagectl --condition '__fish_seen_subcommand_from kick' --short-option q --long-option quiet --description 'No progress and no word on what was done: results and errors only'
complete --command pagectl --condition '__fish_seen_subcommand_from kick' --long-option connection --description 'SESSION is the number of a connection, also of one without a session'
complete --command pagectl --condition '__fish_seen_subcommand_from kick' --long-option reason --exclusive --description 'For its client and the daemon'\''s log'

complete --command pagectl --condition __fish_use_subcommand --arguments takeover --description 'Have a daemon serve a store that another daemon has'
complete --command pagectl --condition '__fish_seen_subcommand_from takeover' --arguments '(__pagectl_images)'
complete --command pagectl --condition '__fish_seen_subcommand_from takeover' --short-option h --long-option help --description 'Print this help message and exit'
complete --command pagectl --condition '__fish_seen_subcommand_from takeover' --long-option json --description 'One JSON document on standard output'
complete --command pagectl --condition '__fish_seen_subcommand_from takeover' --short-option q --long-option quiet --description 'No progress and no word on what was done: results and errors only'
complete --command pagectl --condition '__fish_seen_subcommand_from takeover' --long-option dead --description 'The daemon that has the store is dead: take it at once'

complete --command pagectl --condition __fish_use_subcommand --arguments whoami --description 'Ask a daemon who one is for it, and what one may do'
complete --command pagectl --condition '__fish_seen_subcommand_from whoami' --arguments '(__pagectl_images)'
complete --command pagectl --condition '__fish_seen_subcommand_from whoami' --short-option h --long-option help --description 'Print this help message and exit'
complete --command pagectl --condition '__fish_seen_subcommand_from whoami' --long-option json --description 'One JSON document on standard output'
complete --command pagectl --condition '__fish_seen_subcommand_from whoami' --short-option q --long-option quiet --description 'No progress and no word on what was done: results and errors only'

complete --command pagectl --condition __fish_use_subcommand --arguments token --description 'Make a token, by which a daemon knows a client'
complete --command pagectl --condition '__fish_seen_subcommand_from token' --arguments 'create'
complete --command pagectl --condition '__fish_seen_subcommand_from token' --short-option h --long-option help --description 'Print this help message and exit'
complete --command pagectl --condition '__fish_seen_subcommand_from token' --long-option json --description 'One JSON document on standard output'
complete --command pagectl --condition '__fish_seen_subcommand_from token' --short-option q --long-option quiet --description 'No progress and no word on what was done: results and errors only'
complete --command pagectl --condition '__fish_seen_subcommand_from token' --long-option add-to --exclusive --description 'The daemon'\''s tokens file: a line more, instead of printing it'
complete --command pagectl --condition '__fish_seen_subcommand_from token' --long-option save --exclusive --description 'A new file for the token, for its owner alone, instead of printing it'

complete --command pagectl --condition __fish_use_subcommand --arguments faults --description 'Have things go wrong at a store, for tests'
complete --command pagectl --condition '__fish_seen_subcommand_from faults' --arguments '(__pagectl_images)'
complete --command pagectl --condition '__fish_seen_subcommand_from faults' --short-option h --long-option help --description 'Print this help message and exit'
complete --command pagectl --condition '__fish_seen_subcommand_from faults' --long-option json --description 'One JSON document on standard output'
complete --command pagectl --condition '__fish_seen_subcommand_from faults' --short-option q --long-option quiet --description 'No progress and no word on what was done: results and errors only'
complete --command pagectl --condition '__fish_seen_subcommand_from faults' --long-option add --exclusive --description 'Order this; may be given several times'
complete --command pagectl --condition '__fish_seen_subcommand_from faults' --long-option clear --description 'Order nothing any more, and show what was'

complete --command pagectl --condition __fish_use_subcommand --arguments run --description 'Run a command with a daemon of its own, and have things go wrong'
complete --command pagectl --condition '__fish_seen_subcommand_from run' --short-option h --long-option help --description 'Print this help message and exit'
complete --command pagectl --condition '__fish_seen_subcommand_from run' --long-option json --description 'One JSON document on standard output'
complete --command pagectl --condition '__fish_seen_subcommand_from run' --short-option q --long-option quiet --description 'No progress and no word on what was done: results and errors only'
complete --command pagectl --condition '__fish_seen_subcommand_from run' --long-option faults --exclusive --description 'File of orders: one a line, or with commas between; # begins a comment'
complete --command pagectl --condition '__fish_seen_subcommand_from run' --long-option image --exclusive --description 'What the store begins as: a copy of this image; without it it is empty'
complete --command pagectl --condition '__fish_seen_subcommand_from run' --long-option daemon --exclusive --description 'The pageserverd to start; else that of the environment'\''s PAGESERVERD, one beside pagectl, or in PATH'

complete --command pagectl --condition __fish_use_subcommand --arguments create --description 'Make a new, empty store or image file'
complete --command pagectl --condition '__fish_seen_subcommand_from create' --arguments '(__pagectl_images)'
complete --command pagectl --condition '__fish_seen_subcommand_from create' --short-option h --long-option help --description 'Print this help message and exit'
complete --command pagectl --condition '__fish_seen_subcommand_from create' --long-option json --description 'One JSON document on standard output'
complete --command pagectl --condition '__fish_seen_subcommand_from create' --short-option q --long-option quiet --description 'No progress and no word on what was done: results and errors only'
complete --command pagectl --condition '__fish_seen_subcommand_from create' --long-option pages --exclusive --description 'Pages of zeros that it starts with (default 0)'

complete --command pagectl --condition __fish_use_subcommand --arguments remove --description 'Remove a store, with its file, or an image file'
complete --command pagectl --condition '__fish_seen_subcommand_from remove' --arguments '(__pagectl_images)'
complete --command pagectl --condition '__fish_seen_subcommand_from remove' --short-option h --long-option help --description 'Print this help message and exit'
complete --command pagectl --condition '__fish_seen_subcommand_from remove' --long-option json --description 'One JSON document on standard output'
complete --command pagectl --condition '__fish_seen_subcommand_from remove' --short-option q --long-option quiet --description 'No progress and no word on what was done: results and errors only'

complete --command pagectl --condition __fish_use_subcommand --arguments info --description 'Report on a store or a file'
complete --command pagectl --condition '__fish_seen_subcommand_from info' --arguments '(__pagectl_images)'
complete --command pagectl --condition '__fish_seen_subcommand_from info' --short-option h --long-option help --description 'Print this help message and exit'
complete --command pagectl --condition '__fish_seen_subcommand_from info' --long-option json --description 'One JSON document on standard output'
complete --command pagectl --condition '__fish_seen_subcommand_from info' --short-option q --long-option quiet --description 'No progress and no word on what was done: results and errors only'

complete --command pagectl --condition __fish_use_subcommand --arguments lease --description 'Show who may write, and take that right away'
complete --command pagectl --condition '__fish_seen_subcommand_from lease' --arguments '(__pagectl_images)'
complete --command pagectl --condition '__fish_seen_subcommand_from lease' --short-option h --long-option help --description 'Print this help message and exit'
complete --command pagectl --condition '__fish_seen_subcommand_from lease' --long-option json --description 'One JSON document on standard output'
complete --command pagectl --condition '__fish_seen_subcommand_from lease' --short-option q --long-option quiet --description 'No progress and no word on what was done: results and errors only'
complete --command pagectl --condition '__fish_seen_subcommand_from lease' --long-option break --description 'Take the lease from the session that holds it'

complete --command pagectl --condition __fish_use_subcommand --arguments read --description 'Write bytes of an image to standard output'
complete --command pagectl --condition '__fish_seen_subcommand_from read' --arguments '(__pagectl_images)'
complete --command pagectl --condition '__fish_seen_subcommand_from read' --short-option h --long-option help --description 'Print this help message and exit'
complete --command pagectl --condition '__fish_seen_subcommand_from read' --long-option json --description 'One JSON document on standard output'
complete --command pagectl --condition '__fish_seen_subcommand_from read' --short-option q --long-option quiet --description 'No progress and no word on what was done: results and errors only'
complete --command pagectl --condition '__fish_seen_subcommand_from read' --long-option progress --exclusive --arguments 'auto json none' --description 'How far it is, on standard error: auto, a line where that is a terminal; json, an object a line, each second; none (default auto)'
complete --command pagectl --condition '__fish_seen_subcommand_from read' --long-option hex --description 'For people, in the manner of hexdump -C'

complete --command pagectl --condition __fish_use_subcommand --arguments write --description 'Write standard input into an image'
complete --command pagectl --condition '__fish_seen_subcommand_from write' --arguments '(__pagectl_images)'
complete --command pagectl --condition '__fish_seen_subcommand_from write' --short-option h --long-option help --description 'Print this help message and exit'
complete --command pagectl --condition '__fish_seen_subcommand_from write' --long-option json --description 'One JSON document on standard output'
complete --command pagectl --condition '__fish_seen_subcommand_from write' --short-option q --long-option quiet --description 'No progress and no word on what was done: results and errors only'
complete --command pagectl --condition '__fish_seen_subcommand_from write' --long-option progress --exclusive --arguments 'auto json none' --description 'How far it is, on standard error: auto, a line where that is a terminal; json, an object a line, each second; none (default auto)'

complete --command pagectl --condition __fish_use_subcommand --arguments grow --description 'Append pages of zeros'
complete --command pagectl --condition '__fish_seen_subcommand_from grow' --arguments '(__pagectl_images)'
complete --command pagectl --condition '__fish_seen_subcommand_from grow' --short-option h --long-option help --description 'Print this help message and exit'
complete --command pagectl --condition '__fish_seen_subcommand_from grow' --long-option json --description 'One JSON document on standard output'
complete --command pagectl --condition '__fish_seen_subcommand_from grow' --short-option q --long-option quiet --description 'No progress and no word on what was done: results and errors only'

complete --command pagectl --condition __fish_use_subcommand --arguments copy --description 'Copy an image: file to store, store to file, store to store'
complete --command pagectl --condition '__fish_seen_subcommand_from copy' --arguments '(__pagectl_images)'
complete --command pagectl --condition '__fish_seen_subcommand_from copy' --short-option h --long-option help --description 'Print this help message and exit'
complete --command pagectl --condition '__fish_seen_subcommand_from copy' --long-option json --description 'One JSON document on standard output'
complete --command pagectl --condition '__fish_seen_subcommand_from copy' --short-option q --long-option quiet --description 'No progress and no word on what was done: results and errors only'
complete --command pagectl --condition '__fish_seen_subcommand_from copy' --long-option progress --exclusive --arguments 'auto json none' --description 'How far it is, on standard error: auto, a line where that is a terminal; json, an object a line, each second; none (default auto)'
complete --command pagectl --condition '__fish_seen_subcommand_from copy' --short-option f --long-option force --description 'Replace a file or disk that is there, or what a store holds'
complete --command pagectl --condition '__fish_seen_subcommand_from copy' --long-option check --description 'Compare both at the end, before the copy is made visible where possible'

complete --command pagectl --condition __fish_use_subcommand --arguments diff --description 'Compare two images'
complete --command pagectl --condition '__fish_seen_subcommand_from diff' --arguments '(__pagectl_images)'
complete --command pagectl --condition '__fish_seen_subcommand_from diff' --short-option h --long-option help --description 'Print this help message and exit'
complete --command pagectl --condition '__fish_seen_subcommand_from diff' --long-option json --description 'One JSON document on standard output'
complete --command pagectl --condition '__fish_seen_subcommand_from diff' --short-option q --long-option quiet --description 'No progress and no word on what was done: results and errors only'
complete --command pagectl --condition '__fish_seen_subcommand_from diff' --long-option progress --exclusive --arguments 'auto json none' --description 'How far it is, on standard error: auto, a line where that is a terminal; json, an object a line, each second; none (default auto)'
complete --command pagectl --condition '__fish_seen_subcommand_from diff' --long-option layout --description 'Of two wasm-dbms databases: the tables and rows that differ, told by their keys, wherever they lie'

complete --command pagectl --condition __fish_use_subcommand --arguments hash --description 'Print the XXH3-64 of an image in 16 hex digits'
complete --command pagectl --condition '__fish_seen_subcommand_from hash' --arguments '(__pagectl_images)'
complete --command pagectl --condition '__fish_seen_subcommand_from hash' --short-option h --long-option help --description 'Print this help message and exit'
complete --command pagectl --condition '__fish_seen_subcommand_from hash' --long-option json --description 'One JSON document on standard output'
complete --command pagectl --condition '__fish_seen_subcommand_from hash' --short-option q --long-option quiet --description 'No progress and no word on what was done: results and errors only'
complete --command pagectl --condition '__fish_seen_subcommand_from hash' --long-option progress --exclusive --arguments 'auto json none' --description 'How far it is, on standard error: auto, a line where that is a terminal; json, an object a line, each second; none (default auto)'

complete --command pagectl --condition __fish_use_subcommand --arguments inspect --description 'Show what is inside an image: tables, rows, indexes, free and lost pages'
complete --command pagectl --condition '__fish_seen_subcommand_from inspect' --arguments '(__pagectl_images)'
complete --command pagectl --condition '__fish_seen_subcommand_from inspect' --short-option h --long-option help --description 'Print this help message and exit'
complete --command pagectl --condition '__fish_seen_subcommand_from inspect' --long-option json --description 'One JSON document on standard output'
complete --command pagectl --condition '__fish_seen_subcommand_from inspect' --short-option q --long-option quiet --description 'No progress and no word on what was done: results and errors only'
complete --command pagectl --condition '__fish_seen_subcommand_from inspect' --long-option progress --exclusive --arguments 'auto json none' --description 'How far it is, on standard error: auto, a line where that is a terminal; json, an object a line, each second; none (default auto)'
complete --command pagectl --condition '__fish_seen_subcommand_from inspect' --long-option page --exclusive --description 'Show this page alone, with its fields named'
complete --command pagectl --condition '__fish_seen_subcommand_from inspect' --long-option map --description 'Draw the pages of a database, a sign for each'
complete --command pagectl --condition '__fish_seen_subcommand_from inspect' --long-option svg --description 'The same as an SVG document on standard output'

complete --command pagectl --condition __fish_use_subcommand --arguments verify --description 'See whether what is inside an image agrees with itself'
complete --command pagectl --condition '__fish_seen_subcommand_from verify' --arguments '(__pagectl_images)'
complete --command pagectl --condition '__fish_seen_subcommand_from verify' --short-option h --long-option help --description 'Print this help message and exit'
complete --command pagectl --condition '__fish_seen_subcommand_from verify' --long-option json --description 'One JSON document on standard output'
complete --command pagectl --condition '__fish_seen_subcommand_from verify' --short-option q --long-option quiet --description 'No progress and no word on what was done: results and errors only'
complete --command pagectl --condition '__fish_seen_subcommand_from verify' --long-option progress --exclusive --arguments 'auto json none' --description 'How far it is, on standard error: auto, a line where that is a terminal; json, an object a line, each second; none (default auto)'

complete --command pagectl --condition __fish_use_subcommand --arguments mount --description 'Let programs that only know files use an image'
complete --command pagectl --condition '__fish_seen_subcommand_from mount' --arguments '(__pagectl_images)'
complete --command pagectl --condition '__fish_seen_subcommand_from mount' --force-files
complete --command pagectl --condition '__fish_seen_subcommand_from mount' --short-option h --long-option help --description 'Print this help message and exit'
complete --command pagectl --condition '__fish_seen_subcommand_from mount' --long-option json --description 'One JSON document on standard output'
complete --command pagectl --condition '__fish_seen_subcommand_from mount' --short-option q --long-option quiet --description 'No progress and no word on what was done: results and errors only'
complete --command pagectl --condition '__fish_seen_subcommand_from mount' --long-option foreground --description 'Serve the mount in this process, and return when it is over'
complete --command pagectl --condition '__fish_seen_subcommand_from mount' --long-option read-only --description 'As -o ro, and access=read unless the URI says which'
complete --command pagectl --condition '__fish_seen_subcommand_from mount' --long-option allow-other --description 'Other users may use FILE; who is not root needs user_allow_other in /etc/fuse.conf'
complete --command pagectl --condition '__fish_seen_subcommand_from mount' --long-option ready-fd --exclusive --description 'Write a line to this open descriptor, and close it, once FILE can be opened'
complete --command pagectl --condition '__fish_seen_subcommand_from mount' --long-option log --exclusive --description 'Append to this file why calls fail; else standard error and the system'\''s log'
complete --command pagectl --condition '__fish_seen_subcommand_from mount' --short-option o --long-option option --exclusive --description 'Options of the mount; may be given several times'

complete --command pagectl --condition __fish_use_subcommand --arguments replay --description 'Do again what a recorded trace did, and verify every read in it'
complete --command pagectl --condition '__fish_seen_subcommand_from replay' --arguments '(__pagectl_images)'
complete --command pagectl --condition '__fish_seen_subcommand_from replay' --force-files
complete --command pagectl --condition '__fish_seen_subcommand_from replay' --short-option h --long-option help --description 'Print this help message and exit'
complete --command pagectl --condition '__fish_seen_subcommand_from replay' --long-option json --description 'One JSON document on standard output'
complete --command pagectl --condition '__fish_seen_subcommand_from replay' --short-option q --long-option quiet --description 'No progress and no word on what was done: results and errors only'
complete --command pagectl --condition '__fish_seen_subcommand_from replay' --long-option progress --exclusive --arguments 'auto json none' --description 'How far it is, on standard error: auto, a line where that is a terminal; json, an object a line, each second; none (default auto)'
complete --command pagectl --condition '__fish_seen_subcommand_from replay' --long-option depth --exclusive --description 'Requests in flight; 1, the default, is how the engine works: one after the other'

complete --command pagectl --condition __fish_use_subcommand --arguments bench --description 'Measure requests: rate, median and percentiles'
complete --command pagectl --condition '__fish_seen_subcommand_from bench' --arguments '(__pagectl_images)'
complete --command pagectl --condition '__fish_seen_subcommand_from bench' --short-option h --long-option help --description 'Print this help message and exit'
complete --command pagectl --condition '__fish_seen_subcommand_from bench' --long-option json --description 'One JSON document on standard output'
complete --command pagectl --condition '__fish_seen_subcommand_from bench' --short-option q --long-option quiet --description 'No progress and no word on what was done: results and errors only'
complete --command pagectl --condition '__fish_seen_subcommand_from bench' --long-option progress --exclusive --arguments 'auto json none' --description 'How far it is, on standard error: auto, a line where that is a terminal; json, an object a line, each second; none (default auto)'
complete --command pagectl --condition '__fish_seen_subcommand_from bench' --long-option size --exclusive --description 'Bytes of a request (default 8,4KiB,64KiB)'
complete --command pagectl --condition '__fish_seen_subcommand_from bench' --long-option depth --exclusive --description 'Requests in flight (default 1)'
complete --command pagectl --condition '__fish_seen_subcommand_from bench' --long-option write --exclusive --description 'Per cent of requests that write, 0 to 100 (default 0)'
complete --command pagectl --condition '__fish_seen_subcommand_from bench' --long-option seconds --exclusive --description 'Length of each run (default 2)'
complete --command pagectl --condition '__fish_seen_subcommand_from bench' --long-option count --exclusive --description 'Requests of each run, instead of --seconds'
complete --command pagectl --condition '__fish_seen_subcommand_from bench' --long-option sequential --description 'Rising offsets instead of random ones'
complete --command pagectl --condition '__fish_seen_subcommand_from bench' --long-option seed --exclusive --description 'Of the random offsets and the mix (default 1)'

complete --command pagectl --condition __fish_use_subcommand --arguments plot --description 'Draw what a trace does, or how a bench or a replay went'
complete --command pagectl --condition '__fish_seen_subcommand_from plot' --arguments 'trace bench'
complete --command pagectl --condition '__fish_seen_subcommand_from plot' --force-files
complete --command pagectl --condition '__fish_seen_subcommand_from plot' --short-option h --long-option help --description 'Print this help message and exit'
complete --command pagectl --condition '__fish_seen_subcommand_from plot' --long-option json --description 'One JSON document on standard output'
complete --command pagectl --condition '__fish_seen_subcommand_from plot' --short-option q --long-option quiet --description 'No progress and no word on what was done: results and errors only'
complete --command pagectl --condition '__fish_seen_subcommand_from plot' --long-option progress --exclusive --arguments 'auto json none' --description 'How far it is, on standard error: auto, a line where that is a terminal; json, an object a line, each second; none (default auto)'

complete --command pagectl --condition __fish_use_subcommand --arguments check --description 'See whether a file is an image that can be opened'
complete --command pagectl --condition '__fish_seen_subcommand_from check' --force-files
complete --command pagectl --condition '__fish_seen_subcommand_from check' --short-option h --long-option help --description 'Print this help message and exit'
complete --command pagectl --condition '__fish_seen_subcommand_from check' --long-option json --description 'One JSON document on standard output'
complete --command pagectl --condition '__fish_seen_subcommand_from check' --short-option q --long-option quiet --description 'No progress and no word on what was done: results and errors only'
complete --command pagectl --condition '__fish_seen_subcommand_from check' --long-option progress --exclusive --arguments 'auto json none' --description 'How far it is, on standard error: auto, a line where that is a terminal; json, an object a line, each second; none (default auto)'

complete --command pagectl --condition __fish_use_subcommand --arguments recover --description 'Bring an image up to date with the log beside it'
complete --command pagectl --condition '__fish_seen_subcommand_from recover' --force-files
complete --command pagectl --condition '__fish_seen_subcommand_from recover' --short-option h --long-option help --description 'Print this help message and exit'
complete --command pagectl --condition '__fish_seen_subcommand_from recover' --long-option json --description 'One JSON document on standard output'
complete --command pagectl --condition '__fish_seen_subcommand_from recover' --short-option q --long-option quiet --description 'No progress and no word on what was done: results and errors only'
complete --command pagectl --condition '__fish_seen_subcommand_from recover' --long-option progress --exclusive --arguments 'auto json none' --description 'How far it is, on standard error: auto, a line where that is a terminal; json, an object a line, each second; none (default auto)'
complete --command pagectl --condition '__fish_seen_subcommand_from recover' --long-option adopt --description 'Replay the log although inode, size or time of the image say that it is another one: right when both were moved or copied together, or only the time was changed; publishes of the log then lie over whatever the image holds'
complete --command pagectl --condition '__fish_seen_subcommand_from recover' --long-option drop-log --description 'Use the image as it is, as after it was put back from a copy: what only the log has is lost to it, and the log'\''s files are kept as FILE.kept-TIME.NUMBER'
