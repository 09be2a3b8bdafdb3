/*
 * test_adopt.c
 *		What adopt.h promises: a job is taken up only if nothing else could have
 *		made it.
 */
#include "unit.h"

#include "job/adopt.h"

#define OURS "6073683781a6da229df71e01"
#define OTHER "6073683781a6da229df71e02"
#define OLD "6073683781a6da229df71e00"
#define FILE_OF(period) "clari_export_net_arr_" period "_20260105_093000.json"

static ClariRequest request;
static ClariKnownJobs known;
static ClariSought sought;

/* The POST that is looked for, and a list before it that had OLD alone. */
static void
set_defaults(void)
{
	memset(&request, 0, sizeof(request));
	memset(&known, 0, sizeof(known));
	memset(&sought, 0, sizeof(sought));
	strcpy(request.forecast, "net_arr");
	strcpy(request.period, "2026_Q1");
	request.types = CLARI_TYPES_ALL;
	sought.request = &request;
	sought.period = "2026_Q1";
	sought.user_id = "us";
	sought.currency = "";
}

static ClariListedJob
new_job(const char *job_id, const char *file_name)
{
	ClariListedJob job = {.user_id = "us", .status = CLARI_STATUS_STARTED};

	strcpy(job.job_id, job_id);
	strcpy(job.file_name, file_name);
	return job;
}

/* Goes through the list before the POST. */
static void
list_before(const ClariListedJob *jobs, int count)
{
	ClariAdoption adoption;

	sought.known = NULL;
	clari_adopt_begin(&adoption, &sought);
	for (int i = 0; i < count; i++)
		clari_adopt_add(&adoption, &jobs[i]);
	clari_adopt_known(&adoption, &known);
	sought.known = &known;
}

/* Goes through the list after it: OURS only with the id of OURS. */
static ClariVerdict
list_after(const ClariListedJob *jobs, int count)
{
	ClariAdoption adoption;
	ClariVerdict verdict;
	char job_id[CLARI_ID_SIZE];

	memset(job_id, 'x', sizeof(job_id));
	clari_adopt_begin(&adoption, &sought);
	for (int i = 0; i < count; i++)
		if (!clari_adopt_add(&adoption, &jobs[i]))
			printf("# the list is not gone through to its end\n");
	verdict = clari_adopt_verdict(&adoption, job_id);
	if (strcmp(job_id, verdict == CLARI_VERDICT_OURS ? OURS : "") != 0)
		printf("# verdict %d with job \"%.127s\"\n", (int) verdict, job_id);
	return strcmp(job_id, verdict == CLARI_VERDICT_OURS ? OURS : "") == 0 ? verdict : (ClariVerdict) -1;
}

/* The verdict on one job that is new, beside the one that is known. */
static ClariVerdict
verdict_on(const ClariListedJob *job)
{
	ClariListedJob jobs[] = {new_job(OLD, FILE_OF("2026_Q17")), *job};

	list_before(jobs, 1);
	return list_after(jobs, 2);
}

static void
test_possible(void)
{
	set_defaults();
	ok(clari_adopt_is_possible(&request, "2026_Q1"), "a job of the table's defaults can be told from others");
	ok(!clari_adopt_is_possible(&request, ""), "not without a quarter");
	ok(!clari_adopt_is_possible(&request, "2025_Q4"), "not by another quarter than was asked for");
	ok(!clari_adopt_is_possible(&request, "2026_Q5") && !clari_adopt_is_possible(&request, "2026_Q1x"),
	   "nor by what is none");
	request.period[0] = '\0';
	ok(clari_adopt_is_possible(&request, "2026_Q1") && !clari_adopt_is_possible(&request, ""),
	   "an export of the current quarter can, once that is known");
	for (int i = 0; i < CLARI_TYPES_COUNT; i++)
	{
		request.types = CLARI_TYPES_ALL & ~(UINT32_C(1) << i);
		ok(!clari_adopt_is_possible(&request, "2026_Q1"), "an export without %s cannot", clari_type_names[i]);
	}
	set_defaults();
	strcpy(request.scope_id, "1905::MGR");
	ok(!clari_adopt_is_possible(&request, "2026_Q1"), "nor one of a scope");
	set_defaults();
	request.include_historical = true;
	ok(!clari_adopt_is_possible(&request, "2026_Q1"), "nor a historical one");
	set_defaults();
	request.forecast[0] = '\0';
	ok(!clari_adopt_is_possible(&request, "2026_Q1"), "nor one of no forecast");

	set_defaults();
	request.include_historical = true;
	ok(verdict_on(&(ClariListedJob){.job_id = OURS, .user_id = "us", .file_name = FILE_OF("2026_Q1")}) ==
			   CLARI_VERDICT_NONE &&
		   !known.complete,
	   "what cannot be told is not taken up");
}

static void
test_file_names(void)
{
	static const struct
	{
		const char *name;
		ClariVerdict verdict;
	} names[] = {
		{"clari_export_net_arr_2026_Q1_20260105_093000.json", CLARI_VERDICT_OURS},
		{"clari_export_net_arr_2026_Q17_20260105_093000.json", CLARI_VERDICT_OURS},
		{"clari_export_net_arr_2026_Q1123456789012345678901_20260105_093000.json", CLARI_VERDICT_OURS},
		{"clari_export_net_arr_2026_Q2_20260105_093000.json", CLARI_VERDICT_NONE},
		{"clari_export_net_arr_2025_Q1_20260105_093000.json", CLARI_VERDICT_NONE},
		{"clari_export_net_arr_2026_Q1_2026_Q1_20260105_093000.json", CLARI_VERDICT_NONE},
		{"clari_export_net_arr_2_2026_Q1_20260105_093000.json", CLARI_VERDICT_NONE},
		{"clari_export_arr_2026_Q1_20260105_093000.json", CLARI_VERDICT_NONE},
		{"clari_export_NET_ARR_2026_Q1_20260105_093000.json", CLARI_VERDICT_NONE},
		{"clari_export_net_arr_2026_Q1a_20260105_093000.json", CLARI_VERDICT_NONE},
		{"clari_export_net_arr_2026_Q1_2026010_093000.json", CLARI_VERDICT_NONE},
		{"clari_export_net_arr_2026_Q1_202601055_093000.json", CLARI_VERDICT_NONE},
		{"clari_export_net_arr_2026_Q1_20260105_09300.json", CLARI_VERDICT_NONE},
		{"clari_export_net_arr_2026_Q1_20260105_0930000.json", CLARI_VERDICT_NONE},
		{"clari_export_net_arr_2026_Q1_20260105_093000.csv", CLARI_VERDICT_NONE},
		{"clari_export_net_arr_2026_Q1_20260105_093000.json ", CLARI_VERDICT_NONE},
		{"clari_export_net_arr_2026_Q1_20260105_093000", CLARI_VERDICT_NONE},
		{"clari_export_net_arr_2026_Q1", CLARI_VERDICT_NONE},
		{"clari_export_net_arr_2026_Q1_20260105", CLARI_VERDICT_NONE},
		{" clari_export_net_arr_2026_Q1_20260105_093000.json", CLARI_VERDICT_NONE},
		{"x", CLARI_VERDICT_NONE},
		{"", CLARI_VERDICT_UNCLEAR},
	};

	set_defaults();
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
	{
		ClariListedJob job = new_job(OURS, names[i].name);

		ok(verdict_on(&job) == names[i].verdict, "%s is %s", names[i].name,
		   names[i].verdict == CLARI_VERDICT_OURS   ? "the name of our file"
		   : names[i].verdict == CLARI_VERDICT_NONE ? "another's"
													: "not told yet");
	}
	strcpy(request.forecast, "net");
	ok(verdict_on(&(ClariListedJob){.job_id = OURS, .user_id = "us", .file_name = FILE_OF("2026_Q1")}) ==
		   CLARI_VERDICT_NONE,
	   "a forecast is not taken for one whose name begins so");
	set_defaults();
	request.period[0] = '\0';
	ok(verdict_on(&(ClariListedJob){.job_id = OURS, .user_id = "us", .file_name = FILE_OF("2026_Q1")}) ==
		   CLARI_VERDICT_OURS,
	   "the current quarter's file has that quarter's name");

	set_defaults();
	request.format = CLARI_FORMAT_CSV;
	ok(verdict_on(&(ClariListedJob){.job_id = OURS, .user_id = "us", .file_name = FILE_OF("2026_Q1")}) ==
		   CLARI_VERDICT_NONE,
	   "a JSON file is none of an export as CSV");
	ok(verdict_on(&(ClariListedJob){
		   .job_id = OURS, .user_id = "us", .file_name = "clari_export_net_arr_2026_Q12915_20260105_093000.csv"}) ==
		   CLARI_VERDICT_OURS,
	   "a CSV file is");
}

static bool
is_claimed(void *arg, const char *job_id)
{
	return strcmp(job_id, arg) == 0;
}

static void
test_known_and_claimed(void)
{
	ClariListedJob jobs[] = {new_job(OLD, FILE_OF("2026_Q1")), new_job(OURS, FILE_OF("2026_Q1")),
							 new_job(OTHER, FILE_OF("2026_Q1"))};
	ClariListedJob nameless = new_job(OURS, "");

	set_defaults();
	list_before(jobs, 1);
	ok(known.complete && known.count == 1, "what is listed before the POST is known");
	ok(list_after(jobs, 1) == CLARI_VERDICT_NONE, "and not taken for its own");
	ok(list_after(NULL, 0) == CLARI_VERDICT_NONE, "a list without any job has none of ours");
	ok(list_after(jobs, 2) == CLARI_VERDICT_OURS, "a sole new job is ours");
	ok(list_after(jobs, 3) == CLARI_VERDICT_NONE, "of two nobody can tell, now or later");
	sought.is_claimed = is_claimed;
	sought.arg = OTHER;
	ok(list_after(jobs, 3) == CLARI_VERDICT_OURS, "unless one is another entry's");
	sought.arg = OURS;
	ok(list_after(jobs, 2) == CLARI_VERDICT_NONE, "one that is another entry's is not ours");
	jobs[2] = jobs[1];
	sought.is_claimed = NULL;
	ok(list_after(jobs, 3) == CLARI_VERDICT_OURS, "a job that is listed twice is one");
	list_before(jobs, 3);
	ok(known.complete && list_after(jobs, 3) == CLARI_VERDICT_NONE, "no job is new that was there before");
	list_before(&nameless, 1);
	ok(known.count == 1 && list_after(jobs + 1, 1) == CLARI_VERDICT_NONE,
	   "not even one that had no file's name yet, or was another user's");
	strcpy(jobs[1].user_id, "them");
	list_before(jobs + 1, 1);
	sought.user_id = "";
	ok(list_after(jobs + 1, 1) == CLARI_VERDICT_NONE, "also where it is not known any more who we are");
	jobs[0] = new_job(OLD, "clari_export_other_2026_Q1_20260105_093000.json");
	list_before(jobs, 1);
	ok(known.complete && known.count == 0, "other forecasts and quarters need not be known");
}

static void
test_incomplete(void)
{
	ClariListedJob jobs[CLARI_KNOWN_MAX + 1];
	ClariListedJob job = new_job(OURS, FILE_OF("2026_Q1"));
	ClariAdoption adoption;
	char job_id[CLARI_ID_SIZE];

	set_defaults();
	for (int i = 0; i <= CLARI_KNOWN_MAX; i++)
	{
		jobs[i] = new_job("", FILE_OF("2026_Q1"));
		snprintf(jobs[i].job_id, sizeof(jobs[i].job_id), "6073683781a6da229df8%04x", i);
	}
	list_before(jobs, CLARI_KNOWN_MAX);
	ok(known.complete && known.count == CLARI_KNOWN_MAX && list_after(&job, 1) == CLARI_VERDICT_OURS &&
		   list_after(jobs, CLARI_KNOWN_MAX) == CLARI_VERDICT_NONE,
	   "so many jobs can be known");
	list_before(jobs, CLARI_KNOWN_MAX + 1);
	ok(!known.complete && known.count == CLARI_KNOWN_MAX && list_after(&job, 1) == CLARI_VERDICT_NONE,
	   "where there are more, nothing is certain");
	memset(&known, 0, sizeof(known));
	ok(list_after(&job, 1) == CLARI_VERDICT_NONE, "nor where there was no list before the POST");
	sought.known = NULL;
	clari_adopt_begin(&adoption, &sought);
	clari_adopt_add(&adoption, &job);
	ok(clari_adopt_verdict(&adoption, job_id) == CLARI_VERDICT_NONE, "the list before the POST has no verdict");
	known.complete = true;
	known.count = UINT32_MAX;
	sought.known = &known;
	ok(list_after(&job, 1) == CLARI_VERDICT_OURS, "a count that is beyond all bounds is survived");
}

static void
test_nameless(void)
{
	ClariListedJob jobs[] = {new_job(OURS, FILE_OF("2026_Q1")), new_job(OTHER, "")};

	set_defaults();
	list_before(NULL, 0);
	ok(list_after(jobs + 1, 1) == CLARI_VERDICT_UNCLEAR, "a new job without a file's name may get ours");
	ok(list_after(jobs, 2) == CLARI_VERDICT_UNCLEAR, "and be ours beside one that has it");
	strcpy(jobs[1].user_id, "");
	ok(list_after(jobs, 2) == CLARI_VERDICT_UNCLEAR, "whosoever it is");
	strcpy(jobs[1].user_id, "them");
	ok(list_after(jobs, 2) == CLARI_VERDICT_OURS, "unless it is another user's");
	strcpy(jobs[1].user_id, "us");
	strcpy(jobs[1].currency, "EUR");
	ok(list_after(jobs, 2) == CLARI_VERDICT_OURS, "or in another currency");
	strcpy(jobs[1].currency, "");
	strcpy(request.currency, "USD");
	strcpy(jobs[0].currency, "USD");
	ok(list_after(jobs, 2) == CLARI_VERDICT_UNCLEAR, "but one without a currency may still get ours");
	strcpy(request.currency, "");
	strcpy(jobs[0].currency, "");
	sought.is_claimed = is_claimed;
	sought.arg = OTHER;
	ok(list_after(jobs, 2) == CLARI_VERDICT_OURS, "or another entry's");
	sought.is_claimed = NULL;
	list_before(jobs + 1, 1);
	ok(list_after(jobs, 2) == CLARI_VERDICT_OURS, "or known");
}

static void
test_users(void)
{
	static const struct
	{
		const char *us;
		const char *whose;
		const char *others;
		ClariVerdict verdict;
		const char *name;
	} cases[] = {
		{"us", "us", "them", CLARI_VERDICT_OURS, "our user's job is ours"},
		{"us", "them", "them", CLARI_VERDICT_NONE, "another's is not"},
		{"us", "", "us", CLARI_VERDICT_NONE, "nor one that is nobody's"},
		{"", "us", "us", CLARI_VERDICT_NONE, "nor any, where it is not known who we are"},
		{"", "", "", CLARI_VERDICT_NONE, "a job that names nobody is never certain"},
	};
	ClariListedJob jobs[3];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		for (int place = 0; place < 2; place++)
		{
			set_defaults();
			sought.user_id = cases[i].us;
			/* the other is of another forecast: every job of the list tells who exports */
			jobs[1 - place] = new_job(OLD, "clari_export_other_2026_Q1_20260105_093000.json");
			jobs[place] = new_job(OURS, FILE_OF("2026_Q1"));
			strcpy(jobs[1 - place].user_id, cases[i].others);
			strcpy(jobs[place].user_id, cases[i].whose);
			list_before(NULL, 0);
			ok(list_after(jobs, 2) == cases[i].verdict, "%s", cases[i].name);
		}
	}
	set_defaults();
	list_before(NULL, 0);
	jobs[0] = new_job(OURS, FILE_OF("2026_Q1"));
	jobs[1] = new_job(OTHER, FILE_OF("2026_Q1"));
	strcpy(jobs[1].user_id, "them");
	ok(list_after(jobs, 2) == CLARI_VERDICT_OURS, "another user's new job does not make two of ours");
	strcpy(jobs[1].user_id, "");
	ok(list_after(jobs, 2) == CLARI_VERDICT_NONE, "one that names nobody does");
}

static void
test_currencies(void)
{
	static const struct
	{
		const char *own; /* the account's */
		const char *asked;
		const char *has;
		ClariVerdict verdict;
	} cases[] = {{"", "", "", CLARI_VERDICT_OURS},          {"", "USD", "USD", CLARI_VERDICT_OURS},
				 {"", "USD", "", CLARI_VERDICT_NONE},       {"", "", "USD", CLARI_VERDICT_NONE},
				 {"", "USD", "EUR", CLARI_VERDICT_NONE},    {"", "USD", "usd", CLARI_VERDICT_NONE},
				 {"", "USD", "USDX", CLARI_VERDICT_NONE},   {"USD", "", "USD", CLARI_VERDICT_OURS},
				 {"USD", "", "EUR", CLARI_VERDICT_NONE},    {"USD", "", "", CLARI_VERDICT_NONE},
				 {"USD", "EUR", "USD", CLARI_VERDICT_NONE}, {"USD", "EUR", "EUR", CLARI_VERDICT_OURS}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		ClariListedJob job = new_job(OURS, FILE_OF("2026_Q1"));

		set_defaults();
		sought.currency = cases[i].own;
		strcpy(request.currency, cases[i].asked);
		strcpy(job.currency, cases[i].has);
		ok(verdict_on(&job) == cases[i].verdict, "asked for in \"%s\", of an account in \"%s\", a job in \"%s\" is %s",
		   cases[i].asked, cases[i].own, cases[i].has, cases[i].verdict == CLARI_VERDICT_OURS ? "ours" : "not");
	}
}

static void
test_states(void)
{
	ClariListedJob jobs[] = {new_job(OURS, FILE_OF("2026_Q1")), new_job(OTHER, FILE_OF("2026_Q1"))};

	set_defaults();
	list_before(NULL, 0);
	for (int status = CLARI_STATUS_ABSENT; status <= CLARI_STATUS_UNKNOWN; status++)
	{
		bool bad = status == CLARI_STATUS_FAILED || status == CLARI_STATUS_CANCELED || status == CLARI_STATUS_ABORTED;

		jobs[0].status = (ClariJobStatus) status;
		ok(list_after(jobs, 1) == (bad ? CLARI_VERDICT_NONE : CLARI_VERDICT_OURS), "a job in state %d is %s", status,
		   bad ? "of no use" : "taken up");
		ok(list_after(jobs, 2) == CLARI_VERDICT_NONE, "but makes the choice in any");
	}
}

static void
test_contested(void)
{
	ClariListedJob jobs[] = {new_job(OURS, FILE_OF("2026_Q1")), new_job(OTHER, FILE_OF("2026_Q1"))};

	set_defaults();
	list_before(NULL, 0);
	sought.contested = true;
	ok(list_after(jobs, 1) == CLARI_VERDICT_UNCLEAR, "a job that another entry's POST may have made is not taken up");
	ok(list_after(jobs, 2) == CLARI_VERDICT_UNCLEAR, "nor one of two, but that may become clear");
	sought.is_claimed = is_claimed;
	sought.arg = OTHER;
	sought.contested = false;
	ok(list_after(jobs, 2) == CLARI_VERDICT_OURS, "once the other one has its own");
	sought.contested = true;
	ok(list_after(NULL, 0) == CLARI_VERDICT_NONE, "where there is no job, nothing is contested");
}

int
main(void)
{
	test_possible();
	test_file_names();
	test_known_and_claimed();
	test_incomplete();
	test_nameless();
	test_users();
	test_currencies();
	test_states();
	test_contested();
	return done_testing();
}
