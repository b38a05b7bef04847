# Watches packets in network namespaces of this host, until its standard input says so, or ends, or time is over.
# Given: SECONDS_LONG, TABLE and RULES of nft, FILTER of tcpdump, SPACES (words NAME:INODE of network namespaces, or NAME:self
# for the host's own), ENTRIES (a regular expression) of conntrack, and MARKER, as kubeproof/state/collector.py reads it. For
# what is sent from a namespace PACKETS_NAME (words: a packet in hexadecimal digits, its target, a port of UDP to hold or 0,
# and so on), with a pause of GAP seconds between two.
#
# Rules are gone with the process that holds them (flags owner), and that with its input, which lasts SECONDS_LONG:
# so it is whatever becomes of this shell.
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
refuse() {
    echo "refused $*"
    exit 1
}
for tool in nft xtables-monitor tcpdump nsenter timeout mkfifo pgrep; do
    command -v $tool >/dev/null || refuse "$tool: not found, install it"
done
case $(iptables --version 2>/dev/null) in
*legacy*) refuse "its iptables is the legacy one, whose rules cannot be traced" ;;
esac

d=$(mktemp -d -p /run kubeproof_trace.XXXXXX 2>/dev/null || mktemp -d) || refuse "no temporary folder can be made"
pids=
finish() {
    trap '' TERM
    # shellcheck disable=SC2086
    [ -z "$pids" ] || kill $pids 2>/dev/null
    wait
    rm -rf "$d"
}
trap finish EXIT
trap 'exit 1' HUP INT PIPE TERM

within() { # PID PROGRAM…: becomes the program
    pid=$1
    shift
    [ "$pid" = self ] || set -- nsenter -t "$pid" -n "$@"
    exec timeout "$SECONDS_LONG" "$@"
}
started() { pids="$pids $!"; }
process_in() { # INODE: the oldest process in that namespace, as others may be short ones
    if [ "$1" = self ]; then
        echo self
    else
        echo "$processes" | awk -v inode="$1" '$1 == inode { print $2; exit }'
    fi
}
each() { # COMMAND: with name and process of each namespace
    for space in $spaces; do "$1" "${space%%:*}" "${space#*:}"; done
}
poll() { # COMMAND…: until it succeeds, for three seconds
    n=0
    until "$@"; do
        n=$((n + 1))
        [ $n -lt 60 ] || return 1
        sleep 0.05
    done
}
words() { grep . "$1" | tail -n 1; }
listens() { # PID EAR: whether what timeout runs as EAR hears of traced packets (NFNLGRP_NFTRACE is bit 8 of the groups)
    awk '$2 == 12 && $4 ~ /[13579bdf][0-9a-f][0-9a-f]$/ { print "socket:[" $10 "]" }' "/proc/$1/net/netlink" >"$d/sockets"
    readlink "/proc/$(pgrep -P "$2")/fd"/* 2>/dev/null | grep -qFxf "$d/sockets"
}
count() { # NAME PID WHEN
    cat "/proc/$2/net/snmp" "/proc/$2/net/netstat" >"$d/$1.counters-$3" 2>/dev/null
    [ "$2" = self ] || return 0
    conntrack -S >"$d/$1.conntrack-$3" 2>/dev/null
    conntrack -L 2>/dev/null | grep -E "$ENTRIES" >"$d/$1.entries-$3"
}

arm() { # NAME PID
    [ -n "$2" ] && [ -r "/proc/$2/net/netlink" ] || refuse "a pod on the way has ended, trace again"
    count "$1" "$2" before
    mkfifo "$d/$1.in"
    (
        printf '%s\nlist table inet %s\n' "$RULES" "$TABLE"
        exec sleep "$SECONDS_LONG"
    ) >"$d/$1.in" 2>/dev/null &
    started
    # Its history goes to $HOME (libedit and readline alike), where nothing of this may stay.
    (within "$2" env HOME="$d" nft -i) <"$d/$1.in" >"$d/$1.nft" 2>&1 &
    started
    (within "$2" tcpdump -i any -y LINUX_SLL2 -n -s 256 --immediate-mode -Z root -U -w - "$FILTER") \
        >"$d/$1.pcap" 2>"$d/$1.tcpdump" &
    started
    (within "$2" nft monitor trace) >"$d/$1.trace" 2>&1 &
    started
    eval "ears_$1=$!"
    [ "$2" = self ] || return 0 # elsewhere there are hardly any rules of iptables, and nft shows them too
    (within "$2" xtables-monitor --trace) >"$d/$1.xtables" 2>&1 &
    started
    eval "ears_$1=\"\$ears_$1 $!\""
}
has_rules() { grep -q 'flags owner' "$d/$1.nft"; }
captures() { grep -q 'listening on' "$d/$1.tcpdump"; }
hears() { # NAME PID: with its own ears, as another trace may listen there too
    eval "set -- $2 \$ears_$1"
    pid=$1
    shift
    for ear in "$@"; do listens "$pid" "$ear" || return 1; done
}
listen() { # NAME PID
    poll has_rules "$1" || refuse "nft: $(grep -m 1 Error "$d/$1.nft")"
    poll captures "$1" || refuse "tcpdump: $(words "$d/$1.tcpdump")"
    poll hears "$1" "$2" || refuse "nft monitor: $(words "$d/$1.trace")"
}

send() { # NAME PID. The sender stays: it holds ports, lest the kernel refuse an answer by UDP
    name=$1 pid=$2
    for program in perl python3 /usr/libexec/platform-python none; do
        command -v $program >/dev/null && break
    done
    case $program in
    perl) set -- perl -MSocket -e '$| = 1; my $gap = shift;
        while (my ($packet, $to, $port) = splice(@ARGV, 0, 3)) {
            my $u; !$port || socket($u, 2, 2, 17) && bind($u, sockaddr_in($port, INADDR_ANY)) && push(@held, $u);
            my $sent = socket(S, 2, 3, 255) && defined(send(S, pack("H*", $packet), 0, sockaddr_in(0, inet_aton($to))));
            print $sent ? "sent\n" : "sent $!\n";
            select(undef, undef, undef, $gap) if @ARGV;
        }
        print "end\n"; sleep 9' ;;
    none) set -- sh -c 'echo "sent by nobody: neither perl nor Python is there"; echo end' sh ;;
    *) set -- $program -c 'import socket, sys, time
gap, *words = sys.argv[1:]
held = []
while words:
    packet, to, port, *words = words
    try:
        if int(port):
            held.append(socket.socket(2, 2))
            held[-1].bind(("", int(port)))
        socket.socket(2, 3, 255).sendto(bytes.fromhex(packet), (to, 0))
        print("sent", flush=True)
    except OSError as error:
        print("sent", error.strerror, flush=True)
    time.sleep(float(gap) if words else 0)
print("end", flush=True)
time.sleep(9)' ;;
    esac
    eval "set -- \"\$@\" $GAP \$PACKETS_$name"
    (within "$pid" "$@") >"$d/$name.sent" 2>&1 &
    started
    poll grep -qx end "$d/$name.sent"
    grep -vx end "$d/$name.sent" | tr '\n' '|' | sed 's/|$//'
    echo
}
settle() { # until nothing more is seen for a while
    seen='' quiet=0 n=0
    while [ $quiet -lt 4 ] && [ $n -lt 12 ]; do
        sleep 0.1
        now=$(cat "$d"/*.pcap "$d"/*.trace | wc -c)
        n=$((n + 1)) quiet=$((quiet + 1))
        [ "$now" = "$seen" ] || quiet=0
        seen=$now
    done
}
section() { # NAME PROGRAM…
    printf '\n@@%s out %s\n' "$MARKER" "$1"
    name=$1
    shift
    "$@" 2>/dev/null | head -c 8000000
    printf '\n@@%s err %s\n\n@@%s rc %s 0' "$MARKER" "$name" "$MARKER" "$name"
}
links() { (within "$1" ip -o link); }
report() { # NAME PID
    count "$1" "$2" after
    section "$1-links" links "$2"
    section "$1-capture" base64 "$d/$1.pcap"
    for kind in trace xtables counters-before counters-after conntrack-before conntrack-after entries-before entries-after; do
        section "$1-$kind" cat "$d/$1.$kind"
    done
}

processes=$( # inode and number of each, by its start: the 20th word behind its name in stat (proc(5))
    { grep -s . /proc/[0-9]*/stat; stat -L -c '%n %i' /proc/[0-9]*/ns/net 2>/dev/null; } | awk -F '[/ ]' '
        $4 ~ /^stat:/ { pid = $3; sub(/.*\) /, ""); began[pid] = $20; next }
        $3 in began { print began[$3], $NF, $3 }' | sort -n | cut -d ' ' -f 2-
)
spaces=
for space in $SPACES; do spaces="$spaces ${space%%:*}:$(process_in "${space#*:}")"; done
each arm
each listen
echo ready
while read -r word name; do
    case $word in
    send)
        rest=${spaces##* "$name":}
        send "$name" "${rest%% *}"
        ;;
    settle)
        settle
        echo settled
        ;;
    report)
        each report
        printf '\n@@%s end\n' "$MARKER"
        exit 0
        ;;
    esac
done
exit 1
