# Runs one of two programs, peer.py or peer.pl, whose texts are given: sh peer.sh PYTHON PERL SECONDS ARGUMENT…
python=$1 perl=$2 seconds=$3
shift 3
for program in python3 /usr/libexec/platform-python perl; do
    command -v $program >/dev/null || continue
    case $program in
    perl) exec timeout "$seconds" perl -e "$perl" "$@" ;;
    *) exec timeout "$seconds" $program -c "$python" "$@" ;;
    esac
done
echo neither Python nor Perl is there
exit 1
