# What peer.py does, for hosts without Python, in Perl as every Debian has it (perl-base). See there.
use strict;
use warnings;
use Socket;

my ($own, $mode, $port, $seconds, @pairs) = @ARGV;
my %peers = map { split /=/, $_, 2 } @pairs;
my (%heard, %heard_by);
my $mark = ("\0" x 8) . "kubeproof ";
my ($af_packet, $ipv4, $udp) = (17, unpack("S", pack("n", 0x0800)), 17);

# The time of day could be set meanwhile; the kernel's own cannot.
sub now {
    open(my $uptime, "<", "/proc/uptime") or die "no /proc/uptime: $!\n";
    return (split / /, <$uptime>)[0];
}

socket(my $sender, PF_INET, SOCK_DGRAM, 0) or die "socket: $!\n";
my $receiver;
if ($mode eq "listen") {
    socket($receiver, PF_INET, SOCK_DGRAM, 0) or die "socket: $!\n";
    bind($receiver, sockaddr_in($port, INADDR_ANY)) or die "bind: $!\n";
} else {
    socket($receiver, $af_packet, SOCK_DGRAM, $ipv4) or die "socket: $!\n";
}

sub send_all {
    for my $name (keys %peers) {
        my $words = join(" ", $own, $name, sort keys %heard);
        send($sender, $mark . $words, 0, sockaddr_in($port, inet_aton($peers{$name})));
    }
}

sub payload {
    my ($packet) = @_;
    return $packet if $mode eq "listen";
    my $start = (ord(substr($packet, 0, 1)) & 15) * 4;
    return "" if length($packet) < $start + 8 || ord(substr($packet, 9, 1)) != $udp;
    return unpack("n", substr($packet, $start + 2, 2)) == $port ? substr($packet, $start + 8) : "";
}

sub receive {
    my $packet = "";
    defined(recv($receiver, $packet, 65535, 0)) or return;
    my $text = payload($packet);
    return unless index($text, $mark) == 0;
    my ($from, $to, @known) = split / /, substr($text, length($mark));
    return unless defined $to && exists $peers{$from} && $to eq $own;
    $heard{$from} = 1;
    $heard_by{$from} = 1 if grep { $_ eq $own } @known;
}

# The clock tells whole seconds here: the window may be wider than what is printed, and is not narrower.
my ($began, $begin) = (time(), now());
my ($end, $next_round) = ($begin + $seconds, 0);
while (now() < $end && (keys %heard < keys %peers || keys %heard_by < keys %peers)) {
    if (now() >= $next_round) {
        send_all();
        $next_round = now() + 0.1;
    }
    my $waiting = "";
    vec($waiting, fileno($receiver), 1) = 1;
    my $left = $next_round - now();
    receive() if select($waiting, undef, undef, $left > 0 ? $left : 0) > 0;
}
send_all() for 1 .. 3;
printf "window %.3f %.3f\n", $began + 1, $began + now() - $begin;
print "heard $_\n" for sort keys %heard;
print "done\n";
