# What the other scripts share: settings, which mode, how to reach a service. Sourced, from the checkout's top.
# POSIX sh; on the host of a compose stack no Python is needed.
# POSIX sh has no local variables: loops in here use $each, so that $service stays the caller's.
# shellcheck shell=sh disable=SC2086 # $services, $packages and $compose are lists of words

run=.run
services="idp dispatch manager"
packages="idp relying_party pickup_web pickup_dispatch pickup_manager"
umask 077   # secrets, logs and data are for whoever started this
mkdir -p "$run"

# --- talking ------------------------------------------------------------------

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$(printf '\033[1m') dim=$(printf '\033[2m') red=$(printf '\033[31m') plain=$(printf '\033[0m')
else
    bold='' dim='' red='' plain=''
fi

say() { printf '%s\n' "${dim}·${plain} $*"; }
die() { printf '%s\n' "${red}$*${plain}" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# quietly NAME COMMAND…: the output goes to .run/NAME.log. Every few seconds a line says how far it is;
# when the command fails, the end of its output says why.
quietly() {
    log=$run/$1.log; shift
    : >"$log"
    (
        seconds=0
        while sleep 5 >/dev/null 2>&1; do
            seconds=$((seconds + 5))
            say "  $seconds s: $(tail -n 1 "$log" | tr -d '\r' | cut -c 1-90)"
        done
    ) &
    ticker=$!
    if "$@" >>"$log" 2>&1 </dev/null; then status=0; else status=$?; fi
    kill "$ticker" 2>/dev/null; wait "$ticker" 2>/dev/null || true
    [ "$status" = 0 ] || tail -n 40 "$log" >&2
    return "$status"
}

# npm_packages FOLDER: installs there what its lock file pins, if it is not installed. When it fails, $why says why.
npm_packages() {
    ! cmp -s "$1/package-lock.json" "$1/node_modules/.installed" || return 0
    have npm || { why="npm is not installed"; return 1; }
    say "installing the pinned packages of $1/package-lock.json"
    quietly npm npm ci --prefix "$1" --ignore-scripts --no-audit --no-fund ||
        { why="npm could not install it (whole output: $run/npm.log)"; return 1; }
    cp "$1/package-lock.json" "$1/node_modules/.installed"
}

# --- settings -----------------------------------------------------------------

# The settings in .env, for everything that is started from here. As in Compose, what the environment says wins.
load_env() {
    [ -f .env ] || return 0
    while IFS= read -r line || [ -n "$line" ]; do
        line=$(printf '%s' "$line" | tr -d '\r')
        case $line in '#'*) continue ;; [A-Z]*=*) ;; *) continue ;; esac
        name=${line%%=*} value=${line#*=}
        case $name in *[!A-Z0-9_]*) continue ;; esac
        case $value in '"'*'"' | "'"*"'") value=${value#?} value=${value%?} ;; esac
        eval "known=\${$name+yes}"
        [ -n "$known" ] || export "$name=$value"
    done <.env
    # An .env of an earlier version knows one switch for what are two now.
    export PICKUP_DEMO_PRIVATE_ADDRESSES="${PICKUP_DEMO_PRIVATE_ADDRESSES-${PICKUP_DEMO_PLAIN_HTTP:-}}"
    export COMPOSE_PROJECT_NAME="${COMPOSE_PROJECT_NAME:-pickup}"
}

random_number() { od -An -N4 -tu4 /dev/urandom | tr -d ' \n'; }
random_secret() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }

# Two words and four digits: read from a projector, typed on a phone.
random_password() {
    for _ in 1 2; do
        set -- amber apple birch blue brick candy cedar cherry cloud coral daisy dawn ember fern forest garden \
            ginger grape green hazel honey island ivory jasmine lemon lilac lime linen maple meadow melon mint \
            misty moss north ocean olive onyx orange orchid pearl pepper pine plum poppy purple quartz river \
            robin rose ruby saffron sage sand silver sky snow south spring stone sunny tulip velvet violet winter
        shift $(($(random_number) % $#))
        printf '%s-' "$1"
    done
    printf '%04d' $(($(random_number) % 10000))
}

# Without these the services do not start. Each has a key of its own; scripts/environment.py says who gets what.
needed="PICKUP_IDP_SECRET_KEY PICKUP_DISPATCH_SECRET_KEY PICKUP_MANAGER_SECRET_KEY"
needed="$needed PICKUP_DISPATCH_CLIENT_SECRET PICKUP_MANAGER_CLIENT_SECRET PICKUP_DEMO_PASSWORD"

new_value() { case $1 in PICKUP_DEMO_PASSWORD) random_password ;; *) random_secret ;; esac }

# Makes .env from the example. In one that exists, fills the empty secrets and adds those that are missing.
make_env() {
    from=.env filled='' cr=$(printf '\r')
    [ -f .env ] || from=.env.example
    while IFS= read -r line || [ -n "$line" ]; do
        name=${line%%=*} value=${line#*=} value=${value%"$cr"}
        # Earlier versions had one key, which all services knew: each gets a new one instead.
        case $line in PICKUP_SECRET_KEY=*) continue ;; esac
        case " $needed PICKUP_ADMIN_CLIENT_SECRET " in
            *" $name "*) case $value in '' | '""' | "''") line=$name=$(new_value "$name") filled="$filled $name" ;; esac ;;
        esac
        printf '%s\n' "$line"
    done <"$from" >.env.new
    for name in $needed; do
        grep -q "^$name=" .env.new && continue
        printf '%s=%s\n' "$name" "$(new_value "$name")" >>.env.new
        filled="$filled $name"
    done
    if [ -z "$filled" ]; then rm .env.new; return; fi
    mv .env.new .env   # whole or not at all
    if [ "$from" = .env ]; then say "filled in .env:$filled"
    else say "made .env from .env.example, with random secrets"; fi
}

upper() { printf '%s' "$1" | tr '[:lower:]' '[:upper:]'; }

port_of() {
    case $1 in idp) default=9000 ;; dispatch) default=8080 ;; manager) default=8081 ;; esac
    eval "printf '%s' \"\${PICKUP_$(upper "$1")_PORT:-$default}\""
}

scheme=http   # or https, after use_tls
url_of() {
    case $1 in idp) path='' ;; *) path=/pickup-$1 ;; esac
    eval "printf '%s' \"\${PICKUP_$(upper "$1")_URL:-$scheme://$1.localhost:$(port_of "$1")$path}\""
}

title_of() {
    case $1 in nginx) echo nginx ;; idp) echo 'the IdP' ;; dispatch) echo 'Pickup Dispatch' ;; manager) echo 'Pickup Manager' ;; esac
}

module_of() { case $1 in idp) echo idp ;; *) echo "pickup_$1" ;; esac }

# --- mode: compose or local ---------------------------------------------------

# Whether an engine and a Compose are there; $why says what is missing, $compose is the command.
can_compose() {
    have docker || { why="Docker is not installed"; return 1; }
    engine=$(docker version --format '{{.Server.Version}}' 2>&1) || {
        why="no Docker engine answers ($(printf '%s\n' "$engine" | grep . | tail -n 1))"; return 1
    }
    compose=${COMPOSE:-}
    if [ -z "$compose" ]; then
        if docker compose version >/dev/null 2>&1; then compose="docker compose"
        elif have docker-compose; then compose=docker-compose
        else why="Docker $engine answers, but has no Compose"; return 1; fi
    fi
    why="Docker $engine answers, by '$compose'"
}

# containers [MORE FILTERS…]: ids of this project's containers that run (or also others, with -a).
containers() {
    docker ps -q --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" \
        --filter label=com.docker.compose.oneoff=False "$@"
}
container_of() {
    target=$1; shift
    containers --filter "label=com.docker.compose.service=$target" "$@"
}

# Whether the stack that is there speaks TLS: only then there is an nginx in it.
has_tls() { have docker && [ -n "$(container_of nginx -a 2>/dev/null)" ]; }

# From now on the stack is meant with TLS: $compose reads the other file, and the addresses are https.
use_tls() {
    scheme=https compose="$compose -f docker-compose.tls.yml"
    for each in $services; do
        export "PICKUP_$(upper "$each")_URL=$(url_of "$each")"
    done
}

local_py() { .venv/bin/python scripts/local.py "$@"; }
runs_locally() {
    ls "$run"/*.pid >/dev/null 2>&1 && [ -x .venv/bin/python ] && local_py running "$@"
}

# The mode in which at least one service runs now, or nothing.
running_mode() {
    if runs_locally $services; then echo local
    elif have docker && [ -n "$(containers 2>/dev/null)" ]; then echo compose; fi
}

# Sets $mode and $why for `make up`: as asked (MODE=…), or as it runs already, or as this machine can.
choose_mode() {
    running=$(running_mode)
    case ${TLS:-0} in
        0) ;;
        1)  if [ "${MODE:=compose}" = local ]; then why="MODE is local"; fi
            if [ "$MODE" = local ] || ! can_compose; then
                die "TLS=1 needs Docker, because nginx runs in a container, but $why."
            fi ;;
        *) die "TLS is '$TLS'; it can be 1 or 0." ;;
    esac
    case ${MODE:-} in
        compose) can_compose || die "MODE=compose is not possible: $why." ; mode=compose ;;
        local) mode=local why="MODE=local" ;;
        '')
            if [ "$running" = local ]; then mode=local why="it runs so already"
            elif can_compose; then mode=compose
            else mode=local; fi ;;
        *) die "MODE is '$MODE'; it can be compose or local." ;;
    esac
}

# Sets $mode for everything else: as it runs, else as it was started last, else nothing.
current_mode() {
    mode=$(running_mode)
    [ -n "$mode" ] || mode=$(cat "$run/mode" 2>/dev/null || true)
    case $mode in compose) can_compose || die "The stack was started with compose, but $why." ;; esac
    if [ "$mode" = compose ] && has_tls; then use_tls; fi
}

# What a start depends on: our files, and for local processes the settings. Says whether anything has changed.
fingerprint() {
    find Dockerfile .dockerignore gunicorn.conf.py requirements/runtime.txt \
        scripts/healthcheck.py scripts/tls.py scripts/nginx.conf $packages \
        -type f ! -name '*.py[co]' -exec cksum {} + | LC_ALL=C sort -k 3 | cksum | tr ' ' '-'
}

# --- ports --------------------------------------------------------------------

# Whether this stack holds the port, in whichever mode it runs: then it is free when the stack has been stopped.
is_ours() {
    if have docker && [ -n "$(containers --filter "publish=$1" 2>/dev/null)" ]; then return 0; fi
    for each in $services; do
        # One that an earlier version started has not written down its port.
        if [ "$(cat "$run/$each.port" 2>/dev/null || echo "$1")" = "$1" ] && runs_locally "$each"; then return 0; fi
    done
    return 1
}

# Asked by a connection: the one way that needs no rights and is the same on Linux and macOS.
port_answers() {
    address=${PICKUP_BIND:-127.0.0.1}
    [ "$address" != 0.0.0.0 ] || address=127.0.0.1
    if have bash; then bash -c "exec 3<>/dev/tcp/$address/$1" 2>/dev/null
    elif have nc; then nc -z "$address" "$1" 2>/dev/null
    else return 1; fi   # then the start itself will fail, and say so
}

holder_of() {
    if name=$(docker ps --filter "publish=$1" --format '{{.Names}}' 2>/dev/null) && [ -n "$name" ]; then
        echo "container $name"
    elif have lsof; then
        lsof -nP -iTCP:"$1" -sTCP:LISTEN -Fpc 2>/dev/null |
            awk '/^p/ { pid = substr($0, 2) } /^c/ { print "process " substr($0, 2) " (pid " pid ")"; exit }'
    elif have ss; then
        ss -Hltnp "sport = :$1" 2>/dev/null |
            sed -n 's/.*users:(("\([^"]*\)",pid=\([0-9]*\).*/process \1 (pid \2)/p' | head -n 1
    fi
}

# --- one service --------------------------------------------------------------

# The environment of a local process, as docker-compose.yml has it for a container.
local_env() {
    export PICKUP_DATA_DIR="${PICKUP_DATA_DIR:-$PWD/var}"
    for each in $services; do
        export "LISTEN_$(upper "$each")=127.0.0.1:$(port_of "$each")"   # PICKUP_BIND needs nginx
    done
}

# cli SERVICE ARGUMENTS…: its flask command, where the service runs (or would run).
cli() {
    target=$1; shift
    if [ "$mode" = local ]; then
        .venv/bin/python scripts/environment.py "$target" .venv/bin/flask --app "$(module_of "$target")" "$@"
    elif id=$(container_of "$target") && [ -n "$id" ]; then
        docker exec "$id" flask --app "$(module_of "$target")" "$@"
    else
        $compose run --rm --no-deps -T "$target" flask --app "$(module_of "$target")" "$@" </dev/null
    fi
}

# nginx has no Python, but curl; any answer of a service is a sign of nginx's health.
is_healthy() {
    case $1 in
        nginx) docker exec "$2" curl -sk -o /dev/null "https://localhost:$(port_of idp)/healthz" ;;
        *) docker exec "$2" python -IS scripts/healthcheck.py ;;
    esac >/dev/null 2>&1
}

# wait_healthy SERVICES…: until they answer; the last lines of the one that does not. Asks in the container, and
# does not wait for Docker to ask: that would be seconds later.
wait_healthy() {
    asked=0
    for each in "$@"; do
        id=$(container_of "$each" -a)
        until is_healthy "$each" "$id"; do
            asked=$((asked + 1))
            if [ "$asked" -gt 150 ] || [ "$(docker inspect -f '{{.State.Status}}' "$id")" != running ]; then
                docker logs --tail 30 "$id" >&2
                die "$(title_of "$each") did not start; its last lines are above."
            fi
            [ $((asked % 15)) != 0 ] || say "  waiting for $(title_of "$each")"
            sleep 0.2
        done
    done
}
