# What is shipped: META.json as PGXN wants it, the archive, what `make install` installs, and a library that brings
# nothing along and shows nothing but what PostgreSQL looks up.  The Debian package is tested by test/package.sh.
use strict;
use warnings FATAL => 'all';

use Cwd qw(abs_path);
use File::Find;
use FindBin;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $tree = abs_path("$FindBin::RealBin/../..");
plan skip_all => 'the source tree is not there' unless -e "$tree/Makefile";
chdir $tree or die $!;
my $temporary = PostgreSQL::Test::Utils::tempdir();

# Not the settings of the make that runs this test.
delete @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL DESTDIR)};
sub run_make { my $output = `make -s @_ 2>&1`; diag($output) if $? != 0; return $? == 0; }
sub files_below { my ($dir) = @_; my @files; find({ no_chdir => 1, wanted => sub { push @files, $_ unless -d } }, $dir); return @files; }

my ($version) = slurp_file('clari_fdw.control') =~ /^default_version = '(.*)'$/m;
my $meta = decode_json(slurp_file('META.json'));

subtest 'META.json by the specification 1.0.0' => sub {
	my $semantic = qr/^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)([-+a-zA-Z][-+.0-9A-Za-z]*)?$/;
	my %known = map { $_ => 1 } qw(name version abstract maintainer license provides meta-spec description generated_by tags
		no_index prereqs release_status resources);
	is(join(' ', grep { !defined $meta->{$_} } qw(name version abstract maintainer license provides meta-spec)), '',
		'all that is required is there');
	is(join(' ', grep { !$known{$_} && !/^x_/i } sort keys %$meta), '', 'and nothing unknown');
	is($meta->{name}, 'clari_fdw', 'the name');
	like($meta->{version}, $semantic, 'a semantic version');
	like($meta->{version}, qr/^\Q$version\E\./, 'which begins with that of the control file');
	is($meta->{license}, 'postgresql', 'the license');
	like(slurp_file('LICENSE'), qr/without fee, and without a written agreement/, 'is the one in the file');
	like($meta->{release_status}, qr/^(stable|testing|unstable)$/, 'the release status');
	is($meta->{'meta-spec'}{version}, '1.0.0', 'the version of the specification');
	like($meta->{'meta-spec'}{url}, qr{^https?://pgxn\.org/meta/spec\.txt$}, 'and its address');
	ok(ref $meta->{tags} eq 'ARRAY' && !grep({ length > 255 || /[\/\\[:cntrl:]]/ } @{ $meta->{tags} }), 'tags');
	is(join(' ', keys %{ $meta->{provides} }), 'clari_fdw', 'it provides one extension');
	my $provided = $meta->{provides}{clari_fdw};
	is($provided->{version}, $meta->{version}, 'of its own version');
	like($provided->{file}, qr{^sql/clari_fdw--[0-9.]+\.sql$}, 'by a script');
	ok(-s $provided->{$_}, "$_ is there") for qw(file docfile);
	for my $phase (sort keys %{ $meta->{prereqs} })
	{
		like($phase, qr/^(configure|build|test|runtime|develop)$/, "prerequisites of $phase");
		for my $relation (values %{ $meta->{prereqs}{$phase} })
		{
			like($relation->{$_}, $semantic, $_) for keys %$relation;
		}
	}
	like($_, qr{^https://\S+$}, 'an address among the resources') for values %{ $meta->{resources} };
	my ($package) = slurp_file('debian/changelog') =~ /^clari-fdw \((.*?)\)/;
	is($package, $meta->{version}, 'the version of the Debian package');
	my ($least) = slurp_file('src/compat.h') =~ /#if PG_VERSION_NUM < (\d+)0000\n#error/;
	is($meta->{prereqs}{runtime}{requires}{PostgreSQL}, "$least.0.0", 'the server that compat.h wants');
};

subtest 'make dist' => sub {
	plan skip_all => 'git or python3 is not installed' if grep { system("$_ --version >/dev/null 2>&1") != 0 } qw(git python3);
	my @files = grep { !/\/(build|tmp_check|results|\.git)\/|\.(o|bc|so|zip)$/ } files_below('.');
	system('tar', '-cf', "$temporary/tree.tar", @files) == 0 or die;
	mkdir "$temporary/dist" or die $!;
	local %ENV = (%ENV, HOME => $temporary, map { ("GIT_$_" => 'x@y') } qw(AUTHOR_NAME AUTHOR_EMAIL COMMITTER_NAME COMMITTER_EMAIL));
	system("cd $temporary/dist && tar -xf ../tree.tar && git init -q . && git add -A && git commit -qm x") == 0 or die;
	ok(run_make("-C $temporary/dist dist"), 'succeeds');
	my $name = "clari_fdw-$meta->{version}";
	my @archived = split /\n/, `python3 -m zipfile -l $temporary/dist/$name.zip`;
	my @names = map { /^(\S+)/ } @archived[ 1 .. $#archived ];
	cmp_ok(scalar @names, '>', 100, "and makes $name.zip");
	is(join(' ', grep { !/^$name\// } @names), '', 'with all files in one directory');
	my %there = map { $_ => 1 } @names;
	ok($there{"$name/$_"}, "among them $_") for qw(META.json Makefile README.md LICENSE CONTRIBUTING.md SECURITY.md clari_fdw.control clari_fdw.c test/check.sh),
	  map { $meta->{provides}{clari_fdw}{$_} } qw(file docfile);
	is(join(' ', grep { /^$name\/\.(?:ci|github)\// } @names), '', 'but nothing for machines that run tests');
	system('sed', '-i', 's/^default_version.*/default_version = \'7.7\'/', "$temporary/dist/clari_fdw.control");
	isnt(system("make -s -C $temporary/dist dist 2>$temporary/error"), 0, 'where the versions disagree, it fails');
	like(slurp_file("$temporary/error"), qr/META.json is of \Q$meta->{version}\E, clari_fdw.control of 7.7/, 'and says so');
};

subtest 'make install DESTDIR=…, make uninstall' => sub {
	plan skip_all => 'what is built here is not up to date' if system('make -q all >/dev/null 2>&1') != 0;
	my $to = "$temporary/to";
	my %dir = map { my $dir = `\${PG_CONFIG:-pg_config} --$_`; chomp $dir; ($_ => $dir) } qw(pkglibdir sharedir docdir);
	ok(run_make("install DESTDIR=$to"), 'install');
	my @installed = sort grep { !/\/bitcode\/clari_fdw/ } files_below($to);
	my @scripts = map { s/.*\///r } glob 'sql/clari_fdw--*.sql';
	is_deeply([ grep { /^\Q$to$dir{docdir}\E\// } @installed ],
		[ sort map { "$to$dir{docdir}/clari_fdw/" . s/.*\///r } 'README.md', 'CHANGELOG.md', glob 'doc/*.md' ], 'the documents, in a folder of their own');
	is_deeply([ grep { !/^\Q$to$dir{docdir}\E\// } @installed ],
		[ sort "$to$dir{pkglibdir}/clari_fdw.so", map { "$to$dir{sharedir}/extension/$_" } 'clari_fdw.control', @scripts ],
		'library, without a version in its name, control file and scripts, below it');
	ok(run_make("uninstall DESTDIR=$to"), 'uninstall');
	is(join(' ', files_below($to)), '', 'leaves no file');
};

subtest 'make installcheck' => sub {
	my $installcheck = 'make -n installcheck REGRESS=x ISOLATION=';
	unlike(`$installcheck 2>&1`, qr/skipped/, 'runs TAP tests here');
	mkdir "$temporary/bin" or die $!;
	append_to_file("$temporary/bin/perl", "#!/bin/sh\nexit 2\n");
	chmod 0755, "$temporary/bin/perl" or die $!;
	local $ENV{PATH} = "$temporary/bin:$ENV{PATH}";
	my $output = `$installcheck 2>&1`;
	like($output, qr/^installcheck: the TAP tests are skipped, for lack of perl's IPC::Run \(Debian: libipc-run-perl\)/m,
		'… without IPC::Run it leaves them out, and says so');
	like($output, qr/pg_regress/, '… but not the others');
	unlike($output, qr/test\/t/, '… nor by halves');
};

subtest 'make without a PostgreSQL to build for' => sub {
	like(`make PG_CONFIG=false $_ 2>&1; echo \$?`, qr/No rule to make target '(all|$_)'.*\n2\n\z/s, "make $_ fails") for '', 'install', 'uninstall';
};

subtest 'make in another directory' => sub {
	my ($from, $there, $to) = map { "$temporary/vpath/$_" } qw(from there to);
	# Of sources in which nothing has been built: make would take the objects that it finds there.
	system('mkdir', '-p', $from, $there) == 0 or die;
	system("cp -r Makefile META.json *.md clari_fdw.c clari_fdw.control src sql doc test $from && find $from -name '*.o' -delete -o -name '*.bc' -delete") == 0 or die;
	my @sources = sort(files_below($from));
	my $make = "-C $there -f $from/Makefile with_llvm=no DESTDIR=$to";
	ok(run_make("-j2 $make all"), 'all');
	ok(run_make("$make install"), 'install');
	is_deeply([ sort(files_below($from)) ], \@sources, 'the sources are as they were');
	my @installed = map { s/^\Q$to\E//r } files_below($to);
	like("@installed", qr{\S+/\Q$_\E( |$)}, "$_ is installed")
	  for qw(clari_fdw.so clari_fdw.control README.md clari_fdw.md operations.md), map { s/.*\///r } glob 'sql/clari_fdw--*.sql';
	my ($library) = grep { /clari_fdw\.so$/ } @installed;
	# Parts that are not there are missed when it is loaded, not before.
	is(join(' ', grep { /^clari/ } map { (split)[-1] } split /\n/, `nm -D --undefined-only $to$library`), '', 'the library lacks none of its parts');
	ok(run_make("-j2 $make build/unit/test_period") && system("$there/build/unit/test_period >/dev/null") == 0, 'unit tests are built, and run');
	is(scalar(grep { /\bclari_sync$/ } `nm -D --defined-only $to$library`), 1, 'and has them');
	ok(run_make("$make uninstall"), 'uninstall');
	is(join(' ', files_below($to)), '', 'leaves no file');
	ok(run_make("$make clean"), 'clean');
	is(join(' ', files_below($there)), '', '… neither');
};

subtest 'the library' => sub {
	plan skip_all => 'nothing has been built here' unless -e 'clari_fdw.so';
	plan skip_all => 'binutils are not installed' unless `nm --version 2>&1` =~ /^GNU nm/;
	my $scripts = join('', map { slurp_file($_) } glob 'sql/clari_fdw--*.sql');
	my %called = map { $_ => 1 } $scripts =~ /'MODULE_PATHNAME', '(\w+)'/g;
	my %shown = map { (split)[2] => 1 } split /\n/, `nm -D --defined-only clari_fdw.so`;
	is(join(' ', grep { !$shown{$_} || !$shown{"pg_finfo_$_"} } sort keys %called), '', 'shows every function that a script calls');
	delete @shown{ %called, map { "pg_finfo_$_" } keys %called };
	is(join(' ', sort keys %shown), 'Pg_magic_func _PG_init clari_fdw_worker_main', 'and three more symbols');
	my @needed = map { /\(NEEDED\).*\[(.*?)\.so/ ? $1 : () } `readelf -d clari_fdw.so`;
	is(join(' ', sort grep { !/^(libc|ld-linux.*|libpthread|libm)$/ } @needed), 'libcrypto libcurl libjson-c', 'needs three libraries');
};

done_testing();
