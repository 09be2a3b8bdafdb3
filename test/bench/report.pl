# Tables and plots of the figures: see run.sh.  Usage: report.pl DIRECTORY, which has benchmarks.csv and benchmarks.md.
#
# A table stands between <!-- part --> and <!-- end --> in benchmarks.md.  What has an x is one line of a table whose columns
# are the x's; what has none, a line of its own.
use strict;
use warnings FATAL => 'all';
use utf8;

my ($directory) = @ARGV;
my %figures;    # part -> [{what, x, value, …}]

sub read_figures
{
	open(my $file, '<', "$directory/benchmarks.csv") or die $!;
	chomp(my @names = split /,/, <$file>);
	while (my $line = <$file>)
	{
		chomp $line;
		my @values = map { s/^"(.*)"$/$1/r =~ s/""/"/gr } $line =~ /(?:^|,)("(?:[^"]|"")*"|[^,]*)/g;
		my %figure;
		@figure{@names} = @values;
		push @{ $figures{ $figure{part} } }, \%figure;
	}
	return;
}

sub counted { my ($number) = @_; 1 while $number =~ s/^(\d+)(\d{3})(?=[,.]|$)(?!.*[^\d,.])/$1,$2/; return $number; }

sub shown { my ($figure) = @_; return join(' ', grep { $_ ne '' } counted($figure->{value}), $figure->{unit} =~ s/^x$/×/r); }

sub verdict { my ($figure) = @_; return $figure->{verdict} =~ s/^MISSED$/**missed**/r; }

# Of those with an x: a row per thing, a column per x.
sub curves
{
	my (@all) = @_;
	return '' unless @all;
	my (%value, @what, %seen);
	for my $figure (@all)
	{
		my $what = $figure->{what} . ($figure->{unit} ne '' ? ", $figure->{unit}" =~ s/x$/×/r : '');
		push @what, $what unless $seen{$what}++;
		$value{$what}{ $figure->{x} } = counted($figure->{value}) . ($figure->{verdict} eq 'MISSED' ? ' **missed**' : '');
	}
	my %columns = map { $_->{x} => 1 } @all;
	my @columns = sort { $a <=> $b } keys %columns;
	my $row = sub { return '| ' . join(' | ', @_) . " |\n" };
	return $row->('', map { counted($_) } @columns) . $row->('---', ('---') x @columns)
	  . join('', map { my $what = $_; $row->($what, map { $value{$what}{$_} // '' } @columns) } @what) . "\n";
}

sub list
{
	my (@all) = @_;
	return '' unless @all;
	return list_of(2, @all) unless grep { "$_->{promise}$_->{verdict}" ne '' } @all;
	return list_of(4, @all);
}

sub list_of
{
	my ($columns, @all) = @_;
	return ($columns == 2 ? "| | |\n" : "| | | promised | |\n") . '| --- ' x $columns . "|\n"
	  . join('', map { '| ' . join(' | ', ($_->{what}, shown($_), $_->{promise}, verdict($_))[ 0 .. $columns - 1 ]) . " |\n" } @all) . "\n";
}

# Of what Record::curve found out about curves: a row per curve.
sub fits
{
	my (@all) = @_;
	return '' unless @all;
	my (@rows, %row);
	for my $figure (@all)
	{
		my ($what, $name) = $figure->{what} =~ /^(.*): (.*)$/;
		push @rows, $row{$what} = { what => $what } unless $row{$what};
		$row{$what}{$name} = $figure;
	}
	return "| | exponent | R² | promised | | a | b | R² |\n" . '| --- ' x 8 . "|\n" . join('', map {
		my $row = $_;
		my $exponent = $row->{exponent};
		'| ' . join(' | ', $row->{what}, $exponent->{value}, $row->{'its R²'}{value}, $exponent->{promise}, verdict($exponent),
			map({ shown($row->{$_}) } qw(a b)), $row->{'R² of the line'}{value}) . " |\n"
	} @rows) . "\n";
}

# What is of the form "thing; column": a row per thing.
sub matrix
{
	my (@all) = @_;
	return '' unless @all;
	my (@rows, @columns, %value);
	for my $figure (@all)
	{
		my ($what, $column) = split /; (?!.*; )/, $figure->{what};
		push @rows, $what unless $value{$what};
		push @columns, $column unless grep { $_ eq $column } @columns;
		$value{$what}{$column} = $figure->{value};
	}
	my $row = sub { return '| ' . join(' | ', @_) . " |\n" };
	return $row->('', @columns) . $row->('---', ('---') x @columns)
	  . join('', map { my $what = $_; $row->($what, map { $value{$what}{$_} // '' } @columns) } @rows) . "\n";
}

sub table
{
	my ($part) = @_;
	my @all = @{ $figures{$part} // return "Not measured.\n\n" };
	my ($when) = map { $_->{value} } grep { $_->{what} eq 'measured' } @all;
	@all = grep { $_->{what} ne 'measured' } @all;
	return matrix(@all) . ($when ? "*$when*\n\n" : '') if $part eq 'faults';
	my $fit = qr/: (exponent|its R²|a|b|R² of the line)$/;
	return curves(grep { $_->{x} ne '' } @all) . fits(grep { $_->{what} =~ $fit } @all)
	  . list(grep { $_->{x} eq '' && $_->{what} !~ $fit } @all) . ($when ? "*$when*\n\n" : '');
}

sub write_tables
{
	open(my $in, '<', "$directory/benchmarks.md") or die $!;
	my $text = do { local $/ = undef; <$in> };
	$text =~ s/(<!-- (\w+) -->\n).*?(<!-- end -->)/$1 . "\n" . table($2) . $3/gse;
	open(my $out, '>', "$directory/benchmarks.md") or die $!;
	print $out $text;
	close $out or die $!;
	return;
}

# ------- plots -------

# Colors that show on white and on black alike; no background.
my $style = <<'END';
set terminal svg size 760,440 dynamic enhanced font 'sans-serif,13' linewidth 1.2
set encoding utf8
set border 3 linecolor rgb '#808080'
set grid linecolor rgb '#808080' linewidth 0.3
set tics textcolor rgb '#808080' nomirror
set key top left Left reverse textcolor rgb '#808080'
set xlabel textcolor rgb '#808080'
set ylabel textcolor rgb '#808080'
set title textcolor rgb '#808080'
END
my @colors = ('#2f81d6', '#e0782a', '#2fa04f', '#a06cd5', '#d6455d', '#8a8a2a');

# name, part, title, x's label, y's label, gnuplot's settings, [what in the CSV, its name in the plot]…
my @plots = (
	[ 'cold', 'ways', 'Cold periods, jobs of 1 s', 'periods', 's', 'set logscale xy 2',
		[ 'clari_fdw: SELECT, 16 at a time', 'clari\_fdw, 16 at a time' ], [ 'clari_fdw: SELECT, 4 at a time', 'clari\_fdw, 4 at a time' ],
		[ 'guide: load, 16 threads', 'guide, 16 threads' ], [ 'guide: load, 4 threads', 'guide, 4 threads' ],
		[ 'pgsql-http: into jsonb, one after the other', 'pgsql-http' ],
		[ 'file_fdw: SELECT by programs, all at once', 'file\_fdw, programs' ] ],
	[ 'rows', 'rows', 'From nothing into the table, instant jobs', 'rows', 's', 'set logscale xy',
		[ 'clari_fdw: clari_sync of a cold period into an empty table', 'clari\_sync' ],
		[ "the guide's way into an empty table, cold", 'guide' ],
		[ 'clari_fdw: a cold export, instant job', 'clari\_fdw, export only' ] ],
	[ 'scan', 'rows', 'count(*) and sum over cached rows', 'rows', 'ms', 'set logscale xy',
		[ 'clari_fdw: sum over the cached rows', 'clari\_fdw' ], [ 'heap: sum over the rows', 'heap' ] ],
	[ 'memory', 'rows', "The worker's private memory during an export", 'rows', 'MB', 'set logscale x; set yrange [0:*]',
		[ "clari_fdw: the worker's RssAnon at its highest", 'highest' ] ],
	[ 'periods', 'periods', 'Periods of 500 owners, all at once', 'periods', 's', 'set logscale x 2; set logscale y',
		[ 'cold, jobs of 1 s, all at once', 'cold, jobs of 1 s' ], [ 'cold, instant jobs', 'cold, instant jobs' ] ],
	[ 'cached_periods', 'periods', 'Cached periods of 500 owners', 'periods', 'ms', 'set logscale x 2; set logscale y', [ 'cached: sum', 'sum' ] ],
	[ 'sessions', 'sessions', 'A cached period, all sessions asking all the time', 'sessions', 'ms per query', 'set logscale x 2; set logscale y',
		[ 'cached: time per query, all asking all the time', 'clari\_fdw' ], [ 'heap: the same', 'heap' ] ],
	[ 'flight', 'sessions', 'One cold period, a job of 1 s, asked for by all at once', 'sessions', 's until all have it', 'set logscale x 2; set yrange [0:*]',
		[ 'one cold period, a job of 1 s, asked for by all: until all have it', 'clari\_fdw' ] ]);

# Takes the blanks at the ends of lines away, of which gnuplot leaves some, and git warns.
sub strip
{
	my ($name) = @_;
	open(my $in, '<', $name) or die "$name: $!";
	my @lines = map { s/ +$//r } <$in>;
	open(my $out, '>', $name) or die "$name: $!";
	print $out @lines;
	close $out or die $!;
	return;
}

sub plot
{
	my ($name, $part, $title, $x, $y, $settings, @curves) = @_;
	my ($data, @items) = ('');
	for my $curve (@curves)
	{
		my ($what, $label) = @$curve;
		my @points = grep { $_->{what} eq $what && $_->{x} ne '' } @{ $figures{$part} // [] } or next;
		my $number = @items;
		$data .= "\$curve$number << END\n" . join('', map { "$_->{x} $_->{value}\n" } @points) . "END\n";
		push @items, "\$curve$number with linespoints linewidth 2 pointtype 7 pointsize 0.5 linecolor rgb '$colors[$number]' title '$label'";
	}
	return unless @items;
	mkdir "$directory/benchmarks";
	open(my $gnuplot, '|-', 'gnuplot') or die "gnuplot: $!";
	print $gnuplot $style, "set output '$directory/benchmarks/$name.svg'\n", qq{set title "$title"\nset xlabel '$x'\nset ylabel '$y'\n},
	  "set format x '%.0s%c'\n", "$settings\n", $data, 'plot ', join(', ', @items), "\n";
	close $gnuplot or die "gnuplot: $name";
	strip("$directory/benchmarks/$name.svg");
	return;
}

read_figures();
write_tables();
if (grep { -x "$_/gnuplot" } split /:/, $ENV{PATH}) { plot(@$_) for @plots; }
else { print "There is no gnuplot: no plots.\n"; }
