# `make logs`: prints each JSON log line as time, service, event and its fields.
# Lines that are not JSON, such as gunicorn's own, are printed unchanged.
{
    at = index($0, "{\"time\": \"")
    if (!at) { print; fflush(); next }
    line = substr($0, at + 10, length($0) - at - 10)   # starts at the time; without the last brace
    time = substr(line, 12, 12)
    sub(/^[^"]*", "service": "/, "", line)
    service = line; sub(/".*/, "", service)
    sub(/^[^"]*", "event": "/, "", line)
    event = line; sub(/".*/, "", event)
    sub(/^[^"]*"/, "", line)
    gsub(/, "level": "info"/, "", line)
    line = fields(line)
    printf "%s  %-8s  %s%-26s%s%s\n", time, service, bold, event, plain, line
    fflush()
}

# , "a": "b", "c": 1  →   a=b  c=1
function fields(rest,    out) {
    while (match(rest, /^, "[^"]*": /)) {
        name = substr(rest, 4, RLENGTH - 6)
        rest = substr(rest, RLENGTH + 1)
        if (!match(rest, /^"([^"\\]|\\.)*"/) && !match(rest, /^[^",{[]+/)) return out "  " dim name "=" plain rest
        value = substr(rest, 1, RLENGTH)
        rest = substr(rest, RLENGTH + 1)
        if (value ~ /^"[^ ]*"$/) { value = substr(value, 2, length(value) - 2) }
        out = out "  " dim name "=" plain value
    }
    return out rest
}
