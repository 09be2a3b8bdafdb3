# Part faults of figures.pl: how many POSTs, and how many requests in all, an export takes when the service fails.
package Faults;

use strict;
use warnings FATAL => 'all';

use Bench;
use Figures;
use JSON::PP;
use Record;

our %parts = (faults => \&faults);

my ($true, $false) = (JSON::PP::true, JSON::PP::false);
my $limit = { code => 'export_monthly_quota_reached', source => 'Export', message => 'The monthly quota limit or concurrent limit has been reached.' };

sub refusal { my ($status, %reply) = @_; return { status => $status, json => {%reply} }; }

# [what, [step, fault, times (none: each time)]…]
my @faults = (
	['nothing fails'],
	[ 'no answer to the POST, and a job', [ post => { reset => $true, carry_out => $true }, 1 ] ],
	[ 'no answer to the POST, and no job', [ post => { reset => $true }, 1 ] ],
	[ 'no answer to any POST', [ post => { reset => $true } ] ],
	[ '503 to the POST', [ post => refusal(503), 1 ] ],
	[ '503 to each POST', [ post => refusal(503) ] ],
	[ '429 to the POST', [ post => refusal(429), 1 ] ],
	[ '408 to the POST', [ post => refusal(408), 1 ] ],
	[ '200 to the POST, unreadable, and a job', [ post => { status => 200, body => '<html>', carry_out => $true }, 1 ] ],
	[ '200 to each POST, unreadable, and no job', [ post => { status => 200, body => '<html>' } ] ],
	[ '400 bad_request', [ post => refusal(400, code => 'bad_request', message => 'The request body was malformed: quota') ] ],
	[ '400 no_such_forecast_config', [ post => refusal(400, code => 'no_such_forecast_config') ] ],
	[ '401', [ post => refusal(401, message => 'Invalid authentication credentials') ] ],
	[ '400 by a limit, once; /admin/limits tells that there is room', [ post => refusal(400, %$limit), 1 ] ],
	[ '400 by a limit, twice; /admin/limits is refused', [ post => refusal(400, %$limit), 2 ], [ limits => refusal(403) ] ],
	[ '500 to the list of jobs', [ list => refusal(500) ] ],
	[ 'a poll that breaks', [ poll => { reset => $true }, 1 ] ],
	[ '503 to a poll', [ poll => refusal(503), 1 ] ],
	[ '400 SWW to a poll', [ poll => refusal(400, code => 'SWW'), 1 ] ],
	[ 'a job that Clari has lost', [ post => { job => { lost => $true } }, 1 ] ],
	[ 'each job is lost', [ post => { job => { lost => $true } } ] ],
	[ 'a job that fails', [ post => { job => { end_state => 'FAILED' } } ] ],
	[ '503 to the results', [ results => refusal(503), 1 ] ],
	[ 'a file that breaks off', [ results => { reset_after => 3000 }, 1 ] ],
	[ 'a file that is no JSON', [ results => { status => 200, body => '<html>' } ] ],
	[ '400 invalid_jobId to the results of a job', [ results => refusal(400, code => 'invalid_jobId'), 4 ] ],
	[ '400 invalid_jobId to all results', [ results => refusal(400, code => 'invalid_jobId') ] ]);

sub faults
{
	control('set', { settings => { job_seconds => 0.05, owners => 50 } });
	query('SELECT clari_refresh(\'clari.forecasts\', \'{2026_Q2}\')');    # whose key it is, is known
	for my $case (@faults)
	{
		my ($what, @steps) = @$case;
		sleep 1 until query('SELECT count(*) FROM clari_exports') eq '0';
		query('SELECT clari_invalidate()');
		control('reset', {});
		for my $step (@steps)
		{
			my ($name, $fault, $times) = @$step;
			control('fault', { step => $name, fault => $fault, defined $times ? (times => $times) : () });
		}
		my $session = new_session();
		my $answer = $session->start("SELECT count(*) FROM clari.forecasts WHERE time_period = '2026_Q1'")->finish;
		$session->quit;
		my %seen = %{ requests() };
		my $sum = 0;
		$sum += $_ for values %seen;
		$what .= ': an error' unless $answer =~ /^\d+$/m;
		record("$what; POSTs", undef, $seen{post}, '');
		record("$what; requests", undef, $sum, '');
	}
	control('reset', {});    # the parts that follow meet no faults
	return;
}

1;
