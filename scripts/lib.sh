# Shared by the other scripts: settings, the mode, how to reach a service. Sourced, from the top folder of the checkout.
# POSIX sh, because the host of a compose stack needs no Python.
# POSIX sh has no local variables: loops in this file use $each, so that they do not change the caller's $service.
# shellcheck shell=sh disable=SC2086 # $services, $packages and $compose are lists of words

run=.run
bundled_image=pickup:bundle   # the image in a bundle (scripts/bundle)
services="idp dispatch manager learn"
replicated="idp dispatch manager"   # with SCALE=2; Learn's one collector reads their records
packages="idp relying_party pickup_web pickup_dispatch pickup_manager pickup_learn docs/tutorial docs/labs"
umask 077   # only the user who runs this may read secrets, logs and data
mkdir -p "$run"

# --- messages ------------------------------------------------------------------

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$(printf '\033[1m') dim=$(printf '\033[2m') red=$(printf '\033[31m') plain=$(printf '\033[0m')
else
    bold='' dim='' red='' plain=''
fi

say() { printf '%s\n' "${dim}·${plain} $*"; }
die() { printf '%s\n' "${red}$*${plain}" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# quietly NAME COMMAND…: writes the output to .run/NAME.log. Prints its last line every few seconds, and its end if
# the command fails.
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

# npm_packages FOLDER: installs the packages of its lock file there, if they are missing. Sets $why if it fails.
npm_packages() {
    ! cmp -s "$1/package-lock.json" "$1/node_modules/.installed" || return 0
    have npm || { why="npm is not installed"; return 1; }
    say "installing the pinned packages of $1/package-lock.json"
    quietly npm npm ci --prefix "$1" --ignore-scripts --no-audit --no-fund ||
        { why="npm could not install it (full output: $run/npm.log)"; return 1; }
    cp "$1/package-lock.json" "$1/node_modules/.installed"
}

# --- settings -----------------------------------------------------------------

# Exports the settings in .env. As in Compose, a variable in the environment takes precedence.
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
    # An .env of an earlier version has one switch for what are now two.
    export PICKUP_DEMO_PRIVATE_ADDRESSES="${PICKUP_DEMO_PRIVATE_ADDRESSES-${PICKUP_DEMO_PLAIN_HTTP:-}}"
    export COMPOSE_PROJECT_NAME="${COMPOSE_PROJECT_NAME:-pickup}"
}

random_number() { od -An -N4 -tu4 /dev/urandom | tr -d ' \n'; }
random_secret() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }

# Two words and four digits: easy to read from a projector and to type on a phone.
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

# The services do not start without these. scripts/environment.py lists which service gets which.
needed="PICKUP_IDP_SECRET_KEY PICKUP_DISPATCH_SECRET_KEY PICKUP_MANAGER_SECRET_KEY PICKUP_LEARN_SECRET_KEY"
needed="$needed PICKUP_DISPATCH_CLIENT_SECRET PICKUP_MANAGER_CLIENT_SECRET PICKUP_DEMO_PASSWORD"
for_scale="PICKUP_IDP_DATABASE_PASSWORD PICKUP_DISPATCH_DATABASE_PASSWORD PICKUP_MANAGER_DATABASE_PASSWORD"
for_scale="$for_scale PICKUP_LEARN_DATABASE_PASSWORD"   # PostgreSQL's roles, added by the first make up SCALE=2

new_value() { case $1 in PICKUP_DEMO_PASSWORD) random_password ;; *) random_secret ;; esac }

# Creates .env from the example. In an existing .env, fills in empty secrets and adds missing ones.
make_env() {
    from=.env filled='' cr=$(printf '\r')
    [ -f .env ] || from=.env.example
    while IFS= read -r line || [ -n "$line" ]; do
        name=${line%%=*} value=${line#*=} value=${value%"$cr"}
        # Earlier versions had one key for all services: replaced by one new key per service.
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
    # load_env takes the first line of a name, Docker Compose the last.
    twice=$(sed -n 's/^\([A-Z][A-Z0-9_]*\)=.*/\1/p' .env.new | sort | uniq -d | head -n 1)
    if [ -n "$twice" ]; then rm .env.new; die "$twice is in .env more than once: remove all of its lines but one."; fi
    if [ -z "$filled" ]; then rm .env.new; return; fi
    mv .env.new .env   # atomic
    if [ "$from" = .env ]; then say "filled in .env:$filled"
    else say "created .env from .env.example, with random secrets"; fi
}

upper() { printf '%s' "$1" | tr '[:lower:]' '[:upper:]'; }

port_of() {
    case $1 in idp) default=9000 ;; dispatch) default=8080 ;; manager) default=8081 ;; learn) default=8082 ;; esac
    eval "printf '%s' \"\${PICKUP_$(upper "$1")_PORT:-$default}\""
}

scheme=http   # or https, after use_tls
url_of() {
    case $1 in idp | learn) path='' ;; *) path=/pickup-$1 ;; esac
    eval "printf '%s' \"\${PICKUP_$(upper "$1")_URL:-$scheme://$1.localhost:$(port_of "$1")$path}\""
}

title_of() {
    case $1 in
        nginx) echo nginx ;; idp) echo 'the IdP' ;;
        dispatch) echo 'Pickup Dispatch' ;; manager) echo 'Pickup Manager' ;; learn) echo 'Pickup Learn' ;;
    esac
}

module_of() { case $1 in idp) echo idp ;; *) echo "pickup_$1" ;; esac }

# --- mode: compose or local ---------------------------------------------------

# Whether Docker and Compose are available. Sets $compose to the command, and $why to what is missing.
can_compose() {
    have docker || { why="Docker is not installed"; return 1; }
    engine=$(docker version --format '{{.Server.Version}}' 2>&1) || {
        why="no Docker engine answers ($(printf '%s\n' "$engine" | grep . | tail -n 1))"; return 1
    }
    compose=${COMPOSE:-}
    if [ -z "$compose" ]; then
        if docker compose version >/dev/null 2>&1; then compose="docker compose"
        elif have docker-compose; then compose=docker-compose
        else why="Docker $engine answers, but Compose is not installed"; return 1; fi
    fi
    why="Docker $engine answers, with '$compose'"
}

# containers [MORE FILTERS…]: ids of this project's running containers; with -a, of all its containers.
containers() {
    docker ps -q --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" \
        --filter label=com.docker.compose.oneoff=False "$@"
}
container_of() {
    target=$1; shift
    containers --filter "label=com.docker.compose.service=$target" "$@"
}

first_of() { container_of "$@" | head -n 1; }   # of several replicas, any one

# Whether the existing stack uses TLS: it has an nginx container, and not for plain http.
has_tls() {
    have docker && [ -n "$(container_of nginx -a 2>/dev/null)" ] &&
        [ -z "$(container_of nginx -a --filter label=pickup.scheme=http)" ]
}

# How many replicas of the IdP and of each app the existing stack has. With more than one it has a PostgreSQL container.
replicas() {
    if have docker && [ -n "$(container_of postgres -a 2>/dev/null)" ]; then container_of idp -a | awk 'END { print NR ? NR : 1 }'
    else echo 1; fi
}

# use_nginx SCHEME: selects the stack behind nginx. $compose reads the other file, and nginx.conf needs the addresses.
use_nginx() {
    scheme=$1 compose="$compose -f docker-compose.tls.yml"
    for each in $services; do
        export "PICKUP_$(upper "$each")_URL=$(url_of "$each")"
    done
}
use_tls() { use_nginx https; }

# Selects the stack with replicas, after use_tls if it is used (docker-compose.scale.yml).
use_scale() {
    export NGINX_CA=/ca/ca.pem NGINX_SCHEME=$scheme
    if [ "$scheme" = https ]; then export PICKUP_DEMO_PLAIN_HTTP=false
    else use_nginx http; NGINX_CA=${PICKUP_CA_BUNDLE:-}; fi
    compose="$compose -f docker-compose.scale.yml"
}

local_py() { .venv/bin/python scripts/local.py "$@"; }
runs_locally() {
    ls "$run"/*.pid >/dev/null 2>&1 && [ -x .venv/bin/python ] && local_py running "$@"
}

# Prints the mode in which at least one service is running; nothing if none is.
running_mode() {
    if runs_locally $services; then echo local
    elif have docker && [ -n "$(containers 2>/dev/null)" ]; then echo compose; fi
}

# Sets $mode and $why for `make up`: MODE=… if given, else the mode of the running stack, else what this machine supports.
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
    case ${SCALE:-1} in
        1) ;;
        [2-8])
            if [ "${MODE:=compose}" = local ]; then why="MODE is local"; fi
            if [ "$MODE" = local ] || ! can_compose; then
                die "SCALE=$SCALE needs Docker, because PostgreSQL and nginx run in containers, but $why."
            fi ;;
        *) die "SCALE is '$SCALE'; it can be from 1 to 8." ;;
    esac
    case ${MODE:-} in
        compose) can_compose || die "MODE=compose is not possible: $why." ; mode=compose ;;
        local) mode=local why="MODE=local" ;;
        '')
            if [ "$running" = local ]; then mode=local why="it is already running in this mode"
            elif can_compose; then mode=compose
            else mode=local; fi ;;
        *) die "MODE is '$MODE'; it can be compose or local." ;;
    esac
}

# Sets $mode for the other commands: the running one, else the last one that was started, else empty.
current_mode() {
    mode=$(running_mode)
    [ -n "$mode" ] || mode=$(cat "$run/mode" 2>/dev/null || true)
    case $mode in compose) can_compose || die "The stack was started with compose, but $why." ;; esac
    [ "$mode" = compose ] || return 0
    if has_tls; then use_tls; fi
    if [ "$(replicas)" -gt 1 ]; then use_scale; fi
}

# A checksum of the files that a start depends on. It shows whether the image or the processes are out of date.
fingerprint() {
    find Dockerfile .dockerignore gunicorn.conf.py requirements/runtime.txt \
        scripts/healthcheck.py scripts/tls.py scripts/nginx.conf scripts/databases.py $packages \
        -type f ! -name '*.py[co]' -exec cksum {} + | LC_ALL=C sort -k 3 | cksum | tr ' ' '-'
}

# --- ports --------------------------------------------------------------------

# Whether this stack uses the port, in either mode. Then the port becomes free when the stack is stopped.
is_ours() {
    if have docker && [ -n "$(containers --filter "publish=$1" 2>/dev/null)" ]; then return 0; fi
    for own in $services; do   # not "each": the callers use that name, and sh has no local variables
        # An earlier version did not write .port files.
        if [ "$(cat "$run/$own.port" 2>/dev/null || echo "$1")" = "$1" ] && runs_locally "$own"; then return 0; fi
    done
    return 1
}

# Tries to connect: this needs no privileges, and works on Linux and macOS.
port_answers() {
    address=${PICKUP_BIND:-127.0.0.1}
    [ "$address" != 0.0.0.0 ] || address=127.0.0.1
    if have bash; then bash -c "exec 3<>/dev/tcp/$address/$1" 2>/dev/null
    elif have nc; then nc -z "$address" "$1" 2>/dev/null
    else return 1; fi   # the start itself will then report it
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

# Sets the environment of local processes, as docker-compose.yml does for containers.
local_env() {
    export PICKUP_DATA_DIR="${PICKUP_DATA_DIR:-$PWD/var}"
    for each in $services; do
        export "LISTEN_$(upper "$each")=127.0.0.1:$(port_of "$each")"   # other addresses need nginx
    done
}

# cli SERVICE ARGUMENTS…: runs the service's flask command, in its container if there is one. With input=-i the
# command in a container reads our standard input.
cli() {
    target=$1; shift
    if [ "$mode" = local ]; then
        .venv/bin/python scripts/environment.py "$target" .venv/bin/flask --app "$(module_of "$target")" "$@"
    elif id=$(first_of "$target") && [ -n "$id" ]; then
        docker exec ${input:-} "$id" flask --app "$(module_of "$target")" "$@"
    else
        $compose run --rm --no-deps -T "$target" flask --app "$(module_of "$target")" "$@" </dev/null
    fi
}

# inside SERVICE FILE ARGUMENTS…: runs a Python file of scripts/ with the service's environment, in its network.
inside() {
    target=$1 file=$2; shift 2
    if [ "$mode" = compose ]; then docker exec -i "$(first_of "$target")" python - "$@" <"$file"
    else .venv/bin/python scripts/environment.py "$target" .venv/bin/python - "$@" <"$file"; fi
}

# The nginx container has curl and no Python. nginx is healthy if it returns any response of a service.
is_healthy() {
    case $1 in
        nginx) docker exec "$2" curl -sk -o /dev/null "$scheme://localhost:$(port_of idp)/healthz" ;;
        *) docker exec "$2" python -IS scripts/healthcheck.py ;;
    esac >/dev/null 2>&1
}

# wait_healthy SERVICES…: waits until they answer, or prints the last lines of the one that does not. Runs the check
# itself, because Docker's next health check may be seconds away.
wait_healthy() {
    asked=0
    for each in "$@"; do
        for id in $(container_of "$each" -a); do wait_healthy_container "$each" "$id"; done
    done
}
wait_healthy_container() {
    until is_healthy "$1" "$2"; do
        asked=$((asked + 1))
        if [ "$asked" -gt 150 ] || [ "$(docker inspect -f '{{.State.Status}}' "$2")" != running ]; then
            docker logs --tail 30 "$2" >&2
            die "$(title_of "$1") did not start; its last lines are above."
        fi
        [ $((asked % 15)) != 0 ] || say "  waiting for $(title_of "$1")"
        sleep 0.2
    done
}
