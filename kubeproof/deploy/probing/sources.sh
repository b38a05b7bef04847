# Asks places for an answer: sh sources.sh SECONDS ARCHIVES [KIND PROXIED URL]…
# ARCHIVES is "archives" if those that apt is configured for are asked too, or empty.
# Standard input: proxies, which may hold a password, a line each, as "http URL", "https URL" and "except NAMES".
seconds=$1 archives=$2
shift 2
http='' https='' except=''
while read -r name value; do
    case $name in
    http) http=$value ;;
    https) https=$value ;;
    except) except=$value ;;
    esac
done

# The host's own settings of apt hold where the deploy sets none.
apt_http='' apt_https=''
if command -v apt-config >/dev/null; then
    eval "$(apt-config shell apt_http Acquire::http::Proxy apt_https Acquire::https::Proxy)"
fi

# Of several kinds of manifests a registry gives only those that are asked for.
types=application/vnd
accept="*/*, $types.oci.image.index.v1+json, $types.oci.image.manifest.v1+json, \
$types.docker.distribution.manifest.list.v2+json, $types.docker.distribution.manifest.v2+json"

ask() { # KIND PROXIED URL
    kind=$1 url=$3 one='' two=''
    if [ "$2" = proxied ]; then
        one=$http two=${https:-$http}
    elif [ -z "$http$https" ] && [ "$kind" != images ] && [ "$kind" != manifest ]; then
        one=$apt_http two=$apt_https
    fi
    [ "$one" != DIRECT ] || one=''
    [ "$two" != DIRECT ] || two=''
    export http_proxy="$one" https_proxy="$two" no_proxy="$except"
    unset HTTP_PROXY HTTPS_PROXY NO_PROXY all_proxy ALL_PROXY
    if command -v curl >/dev/null; then
        said=$(curl --header "Accept: $accept" --silent --show-error --insecure --location --head --max-time "$seconds" --output /dev/null \
            --write-out '\n%{http_code}' "$url" 2>&1)
        answer=$(printf '%s\n' "$said" | tail -n 1)
        [ "$answer" != 000 ] || answer=$(printf '%s\n' "$said" | grep '^curl: ' | tail -n 1)
    elif [ "$kind" != manifest ] && command -v wget >/dev/null; then
        said=$(wget --spider --server-response --no-check-certificate --tries 1 --timeout "$seconds" "$url" 2>&1)
        answer=$(printf '%s\n' "$said" | awk '$1 ~ /^HTTP/ {code = $2} END {print code}')
        [ -n "$answer" ] || answer=$(printf '%s\n' "$said" | tail -n 1)
    elif [ "$kind" != manifest ] && [ -z "$one$two" ] && command -v bash >/dev/null; then
        place=${url#*://} port=443
        place=${place%%/*}
        case $url in http:*) port=80 ;; esac
        case $place in *:*) port=${place##*:} place=${place%:*} ;; esac
        if timeout "$seconds" bash -c '</dev/tcp/"$0"/"$1"' "$place" "$port" 2>/dev/null; then
            answer=connected
        else
            answer="no connection to port $port within $seconds s"
        fi
    else
        answer=untried
    fi
    printf '%s %s %s\n' "$kind" "$url" "${answer:-no answer}"
}

while [ $# -ge 3 ]; do
    ask "$1" "$2" "$3" &
    shift 3
done
if [ "$archives" ]; then
    # One index of each; nothing is fetched.
    for url in $(apt-get update --print-uris 2>/dev/null | sed -n "s|^'\(https\{0,1\}://.*InRelease\)'.*|\1|p" |
        awk -F/ '!seen[$1 $3 $4]++'); do
        ask archive proxied "$url" &
    done
fi
wait
