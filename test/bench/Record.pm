# Figures, as lines to read and as rows of a CSV file, and lines fitted through them.
#
# A figure: the part that it belongs to, what it is, x (where there is a curve), its value, the unit, what was promised
# ("<= 1.15"), and the verdict: ok, MISSED, or why it could not be taken.
package Record;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use List::Util qw(sum);
use POSIX qw(strftime);

our @EXPORT = qw(open_results close_results begin_part end_part record skipped failed curve full_or_quick);

my ($file, $part, $begun);
my ($count, $missed) = (0, 0);

# Opens the file anew, but for the rows of parts that are not measured now.
sub open_results
{
	my ($name, @parts) = @_;
	my %now = map { $_ => 1 } @parts, qw(machine part);
	my @kept;
	if (open(my $old, '<', $name)) { @kept = grep { !$now{ (split /,/)[0] } } <$old>; }
	open($file, '>', $name) or die "$name: $!";
	$file->autoflush;
	write_row(qw(part what x value unit promise verdict));
	print $file @kept;
	return;
}

# Prints how many figures there are, and how many promises were missed; returns the latter.
sub close_results
{
	close $file or die $!;
	print "$count figures, $missed promises missed\n";
	return $missed;
}

sub write_row
{
	my (@values) = @_;
	print $file join(',', map { /[",\n]/ ? '"' . s/"/""/gr . '"' : $_ } map { $_ // '' } @values), "\n";
	return;
}

sub load { open(my $file, '<', '/proc/loadavg') or return '?'; return join ' ', (split ' ', <$file>)[ 0 .. 1 ]; }

sub begin_part
{
	($part) = @_;
	$begun = strftime('%Y-%m-%d %H:%M UTC', gmtime) . ', load ' . load();
	return;
}

# Tells when the part was measured, and what of: BENCH_COMMIT.
sub end_part
{
	my $when = sprintf('%s before and %s after, commit %s', $begun, load(), $ENV{BENCH_COMMIT} // 'unknown');
	$when .= ', with BENCH_QUICK: not to be quoted' if $ENV{BENCH_QUICK};
	write_row($part, 'measured', '', $when, '', '', '');
	print "$part measured $when\n";
	return;
}

# The first of two numbers; the second, if BENCH_QUICK is set: then it is the scripts that are tried.
sub full_or_quick { my ($full, $quick) = @_; return $ENV{BENCH_QUICK} ? $quick : $full; }

# With four digits, and no more after the point than help.
sub rounded
{
	my ($value) = @_;
	return $value if $value !~ /^-?[\d.]+(e-?\d+)?$/i || $value =~ /^-?\d+$/;
	my $size = abs $value;
	return sprintf($size >= 100 ? '%.0f' : $size >= 10 ? '%.1f' : $size >= 1 ? '%.2f' : $size >= 0.1 ? '%.3f' : '%.3g', $value);
}

# Of a promise that compares; whether it was kept.
sub kept
{
	my ($value, $promise) = @_;
	my ($relation, $bound) = $promise =~ /^(<=|>=|<|>|=) ([\d.]+)$/ or die "promise \"$promise\"";
	my %kept = ('<=' => $value <= $bound, '>=' => $value >= $bound, '<' => $value < $bound, '>' => $value > $bound,
		'=' => $value == $bound);
	return $kept{$relation};
}

sub record
{
	my ($what, $x, $value, $unit, $promise) = @_;
	my $verdict = !defined $promise ? '' : kept($value, $promise) ? 'ok' : 'MISSED';
	$count++;
	$missed++ if $verdict eq 'MISSED';
	write_row($part, $what, $x, rounded($value), $unit, $promise, $verdict);
	printf "%-9s %-66s %9s %10s %-9s %-8s %s\n", $part, $what, $x // '', rounded($value), $unit // '', $promise // '', $verdict;
	return;
}

sub skipped
{
	my ($what, $why) = @_;
	write_row($part, $what, '', '', '', '', "skipped: $why");
	printf "%-9s %-66s skipped: %s\n", $part, $what, $why;
	return;
}

# The rest of a part could not be measured.
sub failed
{
	my ($why) = @_;
	$missed++;
	print "$part FAILED: $why";
	write_row($part, 'FAILED', '', '', '', '', $why =~ s/\s*\n.*//sr);
	return;
}

# Slope, intercept and R² of the straight line through points, each point counting by its weight.
sub straight
{
	my (@points) = @_;    # [x, y, weight]
	my $weight = sum(map { $_->[2] } @points);
	my ($x, $y) = map { my $i = $_; sum(map { $_->[2] * $_->[$i] } @points) / $weight } 0, 1;
	my $xx = sum(map { $_->[2] * ($_->[0] - $x)**2 } @points);
	my $yy = sum(map { $_->[2] * ($_->[1] - $y)**2 } @points);
	my $xy = sum(map { $_->[2] * ($_->[0] - $x) * ($_->[1] - $y) } @points);
	return ($xy / $xx, $y - $xy / $xx * $x, $yy > 0 ? $xy**2 / ($xx * $yy) : 1);
}

# Records a curve, [x, y] in order, and what it grows like: the exponent, which is the slope in log-log through the upper half of
# the points (below it fixed costs flatten the curve, which would flatter it), and the line a + bx, fitted with relative errors;
# each with its R², which means little where a line is flat.
sub curve
{
	my ($what, $unit, $promise, @points) = @_;
	record($what, @$_, $unit) for @points;
	my @upper = @points[ $#points / 2 .. $#points ];
	my ($exponent, undef, $quality) = straight(map { [ log $_->[0], log $_->[1], 1 ] } @upper);
	my ($slope, $base, $straightness) = straight(map { [ @$_, 1 / $_->[1]**2 ] } @points);
	record("$what: exponent", undef, $exponent, '', $promise);
	record("$what: its R²", undef, $quality, '');
	record("$what: a", undef, $base, $unit);
	record("$what: b", undef, $slope, $unit);
	record("$what: R² of the line", undef, $straightness, '');
	return;
}

1;
