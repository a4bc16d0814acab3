# Takes connections to ports of an address on to other ports of it: forward.pl ADDRESS FROM:TO...
# Runs in a Pod's sandbox until its input ends.
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;

my ($address, @pairs) = @ARGV;
my $most = 16 << 10;    # bytes that wait for a slow reader
my $clients = 256;      # at a time; more wait to be accepted
my ($reading, $writing) = (IO::Select->new(\*STDIN), IO::Select->new());
my (@listeners, %target, %peer, %waiting, %ended);
$SIG{PIPE} = "IGNORE";

for (@pairs) {
    my ($from, $to) = split /:/;
    my $listener;
    for (1 .. 15) {    # the one before may hold it for another moment
        $listener = IO::Socket::INET->new(
            LocalAddr => $address, LocalPort => $from, Listen => 128, ReuseAddr => 1, Blocking => 0
        ) and last;
        select undef, undef, undef, 0.2;
    }
    die "port $from: $!\n" unless $listener;
    $target{$listener} = $to;
    push @listeners, $listener;
}
$reading->add(@listeners);

sub forget {
    for my $socket (@_) {
        $reading->remove($socket);
        $writing->remove($socket);
        delete $_->{$socket} for \%peer, \%waiting, \%ended;
        close $socket;
    }
    $reading->add(@listeners);
}

# Writes what waits for a socket; when all is out, its peer is read again, or was its last word.
sub flush {
    my ($to) = @_;
    my $from = $peer{$to};
    if (length $waiting{$to}) {
        my $sent = syswrite $to, $waiting{$to};
        return $!{EAGAIN} ? $writing->add($to) : forget($to, $from) unless defined $sent;
        substr $waiting{$to}, 0, $sent, "";
    }
    return $writing->add($to) if length $waiting{$to};
    $writing->remove($to);
    return $reading->add($from) unless $ended{$from};
    shutdown $to, 1;
    forget($to, $from) if $ended{$to} && !length $waiting{$from};
}

while (1) {
    my ($readable, $writable) = IO::Select->select($reading, $writing);
    for my $socket (@{ $writable || [] }) {
        flush($socket) if $peer{$socket};
    }
    for my $socket (@{ $readable || [] }) {
        if ($socket == \*STDIN) {
            exit unless sysread(STDIN, my $word, 1024);
        } elsif (my $port = $target{$socket}) {
            my $client = $socket->accept or next;
            $client->blocking(0);
            my $server = IO::Socket::INET->new(PeerAddr => $address, PeerPort => $port, Blocking => 0);
            if (!$server) { close $client; next }
            ($peer{$client}, $peer{$server}) = ($server, $client);
            $waiting{$_} = "" for $client, $server;
            # Writable is connected: only then the client is read.
            $writing->add($server);
            $reading->add($server);
            $reading->remove(@listeners) if keys %peer >= 2 * $clients;
        } elsif (my $to = $peer{$socket}) {
            my $got = sysread($socket, my $bytes, $most);
            if (!defined $got) {
                forget($socket, $to) unless $!{EAGAIN};
                next;
            }
            $waiting{$to} .= $bytes;
            $ended{$socket} = 1 if !$got;
            $reading->remove($socket);    # until its bytes are out
            flush($to);
        }
    }
}
